-- One row a session of browsing_events under the definition `tracker`: the session is the one the event says it belongs to.
WITH tied AS (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY person_id, session_id, touch_rank ORDER BY event_us NULLS FIRST, event_id NULLS FIRST, write_key NULLS FIRST) AS touch_no
  FROM browsing_events
  WHERE session_id IS NOT NULL
)
SELECT
  person_id, MIN(event_us) AS start_us, MAX(event_us) AS end_us, COUNT(*) AS n_events,
  COALESCE(
    MAX(CASE WHEN touch_rank = 1 AND touch_no = 1 THEN source_key END),
    MAX(CASE WHEN touch_rank = 2 AND touch_no = 1 THEN source_key END), 0) AS source_key,
  MIN(event_us) AS visit_start_us, MAX(event_us) AS visit_end_us, session_id
FROM tied
GROUP BY person_id, session_id
