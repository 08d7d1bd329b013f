-- One row a session of browsing_events under the definition `tracker`: the session is the one the event says it belongs to.
-- Sessions may overlap: those of a person that start in one microsecond are numbered (tie_no) by their first events.
WITH spans AS (
  SELECT person_id, session_id, MIN(event_us) AS start_us, MAX(event_us) AS end_us, COUNT(*) AS n_events
  FROM browsing_events
  WHERE session_id IS NOT NULL
  GROUP BY person_id, session_id
), deciding AS (  -- events that name a source, and those of the first moment
  SELECT
    s.person_id, s.session_id, s.start_us, s.end_us, s.n_events, e.event_us, e.event_id, e.write_key, e.touch_rank, e.source_key,
    ROW_NUMBER() OVER (PARTITION BY s.person_id, s.session_id ORDER BY e.event_us NULLS FIRST, e.event_id NULLS FIRST, e.write_key NULLS FIRST) AS event_no
  FROM spans AS s
  JOIN browsing_events AS e ON e.person_id = s.person_id AND e.session_id = s.session_id AND (e.event_us = s.start_us OR e.touch_rank = 1)
), starts AS (
  SELECT person_id, session_id,
    ROW_NUMBER() OVER (PARTITION BY person_id, start_us ORDER BY event_id NULLS FIRST, write_key NULLS FIRST) AS start_no
  FROM deciding
  WHERE event_no = 1
), sourced AS (
  SELECT
    person_id, session_id, start_us, end_us, n_events,
    MAX(CASE WHEN event_no = 1 AND touch_rank IS NOT NULL THEN source_key END) AS arrival_key,
    MIN(CASE WHEN touch_rank = 1 THEN event_no * 2147483648 + source_key END) % 2147483648 AS named_key,
    MIN(CASE WHEN touch_rank = 1 THEN event_us END) AS named_us
  FROM deciding
  GROUP BY person_id, session_id, start_us, end_us, n_events
)
SELECT
  a.person_id, a.start_us, a.end_us, a.n_events, COALESCE(a.arrival_key, a.named_key, 0) AS source_key,
  CASE WHEN a.arrival_key IS NOT NULL THEN a.start_us ELSE a.named_us END AS source_us,
  a.start_us AS visit_start_us, a.end_us AS visit_end_us, a.session_id, s.start_no AS tie_no
FROM sourced AS a
JOIN starts AS s ON s.person_id = a.person_id AND s.session_id = a.session_id
