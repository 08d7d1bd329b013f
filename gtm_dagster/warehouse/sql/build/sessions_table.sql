-- The rows of core.sessions for the sessions found.
SELECT p.id || ':' || coalesce(n.session_id, CAST(n.start_us AS VARCHAR)) AS session_key, p.id AS person_id,
  make_timestamp(n.start_us) AS session_start, make_timestamp(n.end_us) AS session_end, n.n_events, s.source, s.medium, s.campaign,
  s.channel, s.rule, n.start_us, n.end_us, n.visit_start_us, n.visit_end_us, n.source_key, n.source_us,
  n.session_id, n.tie_no, n.person_id AS person_no
FROM session_rows n
JOIN meta.ids p ON p.id_no = n.person_id
JOIN core.sources s ON s.source_key = n.source_key
