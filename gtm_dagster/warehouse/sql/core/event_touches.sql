-- One row a browsing event, in place of a session, where every event is a touch (attribution.grain = "event"). Its source is
-- what the event itself says, else direct (0); its session is the one that is open at its moment. Events of one
-- microsecond are in order of (event_id, write_key).
WITH moments AS (  -- of one moment, the session begins before its events
  SELECT person_id, start_us AS moment_us, 0 AS moment_no, start_us AS opened_us, 0 AS tie_no, 0 AS named_key
  FROM session_starts
  UNION ALL
  SELECT
    person_id, event_us AS moment_us, 1 AS moment_no, NULL AS opened_us,
    ROW_NUMBER() OVER (PARTITION BY person_id, event_us ORDER BY event_id NULLS FIRST, write_key NULLS FIRST) AS tie_no,
    CASE WHEN touch_rank IS NOT NULL THEN source_key ELSE 0 END AS named_key
  FROM browsing_events
), placed AS (
  SELECT
    person_id, moment_us, moment_no, tie_no, named_key,
    MAX(opened_us) OVER (PARTITION BY person_id ORDER BY moment_us NULLS FIRST, moment_no NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS session_us
  FROM moments
)
SELECT s.session_key, p.person_id, p.moment_us AS touch_us, p.tie_no, p.named_key AS source_key, p.moment_us AS source_us
FROM placed AS p
JOIN session_starts AS s ON s.person_id = p.person_id AND s.start_us = p.session_us
WHERE p.moment_no = 1 AND p.moment_us <= s.end_us
