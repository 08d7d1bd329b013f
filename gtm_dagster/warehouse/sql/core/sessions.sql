-- One row a session of browsing_events: a session starts after more than $timeout_us without an event and, when asked,
-- at midnight of the report time zone ($split_midnight = 1) or when another campaign is named ($split_campaign = 1).
-- A session starts at a moment, so events of the same microsecond stay together and their order does not matter.
WITH ordered AS (
  SELECT
    person_id, event_us, event_id, write_key, source_key, touch_rank, day_no,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS event_no,
    LAG(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS previous_us,
    LEAD(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS next_us,
    LAG(day_no) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS previous_day_no
  FROM browsing_events
), kept AS (  -- only the moments that can matter: gaps, named sources, midnights, ties, ends
  SELECT *,
    ROW_NUMBER() OVER (PARTITION BY person_id, event_us, touch_rank ORDER BY event_id NULLS FIRST, write_key NULLS FIRST) AS tie_no,
    CASE WHEN previous_us IS NULL OR event_us - previous_us > $timeout_us THEN 1 ELSE 0 END AS gap_before,
    CASE WHEN next_us IS NULL OR next_us - event_us > $timeout_us THEN 1 ELSE 0 END AS gap_behind,
    CASE WHEN previous_day_no <> day_no THEN 1 ELSE 0 END AS midnight_before
  FROM ordered
  WHERE touch_rank IS NOT NULL OR previous_us IS NULL OR next_us IS NULL
     OR event_us - previous_us > $timeout_us OR next_us - event_us > $timeout_us
     OR previous_us = event_us OR next_us = event_us
     OR ($split_midnight = 1 AND previous_day_no <> day_no)
), moments AS (
  SELECT
    person_id, event_us,
    MAX(CASE WHEN touch_rank = 1 AND tie_no = 1 THEN source_key END) AS named_key,
    MAX(CASE WHEN touch_rank = 2 AND tie_no = 1 THEN source_key END) AS referred_key,
    MIN(event_no) AS first_no, MAX(event_no) AS last_no, MIN(previous_us) AS before_us,
    MAX(gap_before) AS opens, MAX(gap_behind) AS closes, MAX(midnight_before) AS after_midnight
  FROM kept
  GROUP BY person_id, event_us
), visits AS (
  SELECT *, SUM(opens) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS visit_no
  FROM moments
), carried AS (
  SELECT *, LAST_VALUE(named_key IGNORE NULLS) OVER (PARTITION BY person_id, visit_no ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier_key
  FROM visits
), starts AS (
  SELECT *,
    CASE WHEN opens = 1 OR ($split_midnight = 1 AND after_midnight = 1)
           OR ($split_campaign = 1 AND named_key <> COALESCE(earlier_key, -1)) THEN 1 ELSE 0 END AS is_start
  FROM carried
), numbered AS (
  SELECT *, SUM(is_start) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS session_no
  FROM starts
), sourced AS (
  SELECT *,
    FIRST_VALUE(named_key IGNORE NULLS) OVER (PARTITION BY person_id, session_no ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS first_named,
    FIRST_VALUE(referred_key IGNORE NULLS) OVER (PARTITION BY person_id, session_no ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS first_referred
  FROM numbered
), folded AS (
  SELECT
    person_id, visit_no, session_no,
    MIN(event_us) AS start_us, MIN(first_no) AS start_no,
    MAX(CASE WHEN is_start = 1 THEN before_us END) AS left_us,
    MAX(first_named) AS named, MAX(first_referred) AS referred,
    MAX(CASE WHEN closes = 1 THEN event_us END) AS close_us, MAX(CASE WHEN closes = 1 THEN last_no END) AS close_no
  FROM sourced
  GROUP BY person_id, visit_no, session_no
)
SELECT
  person_id, start_us,
  COALESCE(close_us, LEAD(left_us) OVER (PARTITION BY person_id ORDER BY start_us NULLS FIRST)) AS end_us,
  COALESCE(close_no + 1, LEAD(start_no) OVER (PARTITION BY person_id ORDER BY start_us NULLS FIRST)) - start_no AS n_events,
  COALESCE(named, referred, 0) AS source_key,
  MIN(start_us) OVER (PARTITION BY person_id, visit_no) AS visit_start_us,
  MAX(close_us) OVER (PARTITION BY person_id, visit_no) AS visit_end_us,
  CAST(NULL AS VARCHAR) AS session_id
FROM folded
