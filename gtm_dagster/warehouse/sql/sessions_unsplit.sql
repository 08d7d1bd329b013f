-- One row a session of scope_events where nothing but a gap of more than $timeout_us ends a session: the same rows as
-- sessions.sql without its splits, in one narrow pass and one over the moments that matter.
-- Touches of one moment are ordered by (event_id, write_key); event_id may be NULL where touch_rank is.
WITH ordered AS (
  SELECT
    person_id, event_us, source_key, touch_rank,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST, event_id NULLS FIRST, write_key NULLS FIRST) AS event_no,
    LAG(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST, event_id NULLS FIRST, write_key NULLS FIRST) AS previous_us,
    LEAD(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST, event_id NULLS FIRST, write_key NULLS FIRST) AS next_us
  FROM scope_events
), kept AS (  -- first and last events of sessions, and touches
  SELECT
    person_id, event_us, event_no,
    CASE WHEN previous_us IS NULL OR event_us - previous_us > $timeout_us THEN event_us END AS opened_us,
    CASE WHEN touch_rank = 1 THEN event_no * 2147483648 + source_key END AS named_key,
    CASE WHEN touch_rank = 2 THEN event_no * 2147483648 + source_key END AS referred_key
  FROM ordered
  WHERE touch_rank IS NOT NULL OR previous_us IS NULL OR next_us IS NULL
     OR event_us - previous_us > $timeout_us OR next_us - event_us > $timeout_us
), visits AS (
  SELECT *, MAX(opened_us) OVER (PARTITION BY person_id ORDER BY event_no NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS start_us
  FROM kept
)
SELECT
  person_id, start_us, MAX(event_us) AS end_us, MAX(event_no) - MIN(event_no) + 1 AS n_events,
  COALESCE(MIN(named_key), MIN(referred_key), 0) % 2147483648 AS source_key,
  start_us AS visit_start_us, MAX(event_us) AS visit_end_us, CAST(NULL AS VARCHAR) AS session_id
FROM visits
GROUP BY person_id, start_us
