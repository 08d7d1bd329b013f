-- One row a session of browsing_events where nothing but a gap of more than $timeout_us ends a session: the same rows as
-- sessions.sql without its splits, in one narrow pass and one over the moments that matter.
-- Touches of one moment that name different sources are ordered by (event_id, write_key); no other row's ids are read.
WITH disputed AS (
  SELECT person_id, event_us, touch_rank
  FROM browsing_events
  WHERE touch_rank IS NOT NULL
  GROUP BY person_id, event_us, touch_rank
  HAVING MIN(source_key) <> MAX(source_key)
), settled AS (
  SELECT e.person_id, e.event_us, e.touch_rank, e.source_key,
    ROW_NUMBER() OVER (PARTITION BY e.person_id, e.event_us, e.touch_rank ORDER BY e.event_id NULLS FIRST, e.write_key NULLS FIRST) AS tie_no
  FROM browsing_events AS e
  JOIN disputed AS d ON d.person_id = e.person_id AND d.event_us = e.event_us AND d.touch_rank = e.touch_rank
), ordered AS (
  SELECT
    person_id, event_us, source_key, touch_rank,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS event_no,
    LAG(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS previous_us,
    LEAD(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS next_us
  FROM browsing_events
), kept AS (  -- first and last events of sessions, and touches
  SELECT
    o.person_id, o.event_us, o.event_no, o.touch_rank, COALESCE(s.source_key, o.source_key) AS source_key,
    CASE WHEN o.previous_us IS NULL OR o.event_us - o.previous_us > $timeout_us THEN o.event_us END AS opened_us
  FROM ordered AS o
  LEFT JOIN settled AS s ON s.person_id = o.person_id AND s.event_us = o.event_us AND s.touch_rank = o.touch_rank AND s.tie_no = 1
  WHERE o.touch_rank IS NOT NULL OR o.previous_us IS NULL OR o.next_us IS NULL
     OR o.event_us - o.previous_us > $timeout_us OR o.next_us - o.event_us > $timeout_us
), visits AS (
  SELECT *, MAX(opened_us) OVER (PARTITION BY person_id ORDER BY event_no NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS start_us,
    CASE WHEN touch_rank = 1 THEN event_no * 2147483648 + source_key END AS named_key,
    CASE WHEN touch_rank = 2 THEN event_no * 2147483648 + source_key END AS referred_key
  FROM kept
)
SELECT
  person_id, start_us, MAX(event_us) AS end_us, MAX(event_no) - MIN(event_no) + 1 AS n_events,
  COALESCE(MIN(named_key), MIN(referred_key), 0) % 2147483648 AS source_key,
  start_us AS visit_start_us, MAX(event_us) AS visit_end_us, CAST(NULL AS VARCHAR) AS session_id
FROM visits
GROUP BY person_id, start_us
