-- The sessions with their source, as another engine keeps them: persons by their pseudonyms, no numbers of a file.
SELECT
  n.person_id || ':' || COALESCE(n.session_id, CAST(n.start_us AS VARCHAR)) AS session_key, n.person_id,
  n.n_events, s.source, s.medium, s.campaign, s.channel, s.rule, n.start_us, n.end_us, n.visit_start_us, n.visit_end_us,
  n.source_key, n.source_us, n.session_id, n.tie_no
FROM session_rows AS n
JOIN sources AS s ON s.source_key = n.source_key
