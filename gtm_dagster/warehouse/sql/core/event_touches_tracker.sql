-- One row a browsing event, in place of a session, where every event is a touch and sessions are those that events name
-- (definition `tracker`). An event that names no session is no touch.
WITH numbered AS (
  SELECT
    person_id, event_us, session_id, CASE WHEN touch_rank IS NOT NULL THEN source_key ELSE 0 END AS named_key,
    ROW_NUMBER() OVER (PARTITION BY person_id, event_us ORDER BY event_id NULLS FIRST, write_key NULLS FIRST) AS tie_no
  FROM browsing_events
)
SELECT s.session_key, n.person_id, n.event_us AS touch_us, n.tie_no, n.named_key AS source_key, n.event_us AS source_us
FROM numbered AS n
JOIN session_starts AS s ON s.person_id = n.person_id AND s.session_id = n.session_id
