-- One row a session of browsing_events where nothing but a gap of more than $timeout_us ends a session: the same rows as
-- sessions.sql without its splits, in one narrow pass and one over the moments that matter.
-- Events are ordered by (event_id, write_key) where a touch shares its moment with another event; no other row's ids are read.
WITH ordered AS (
  SELECT
    person_id, event_us, source_key, touch_rank,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS event_no,
    LAG(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS previous_us,
    LEAD(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS next_us
  FROM browsing_events
), kept AS (  -- first and last events of sessions, and touches
  SELECT
    person_id, event_us, event_no, touch_rank, source_key,
    CASE WHEN previous_us IS NULL OR event_us - previous_us > $timeout_us THEN event_us END AS opened_us,
    CASE WHEN previous_us = event_us OR next_us = event_us THEN 1 ELSE 0 END AS tied
  FROM ordered
  WHERE touch_rank IS NOT NULL OR previous_us IS NULL OR next_us IS NULL
     OR event_us - previous_us > $timeout_us OR next_us - event_us > $timeout_us
), disputed AS (
  SELECT DISTINCT person_id, event_us
  FROM kept
  WHERE tied = 1 AND touch_rank IS NOT NULL
), tie_broken AS (
  SELECT e.person_id, e.event_us, e.touch_rank, e.source_key,
    ROW_NUMBER() OVER (PARTITION BY e.person_id, e.event_us ORDER BY e.event_id NULLS FIRST, e.write_key NULLS FIRST) AS tie_no
  FROM browsing_events AS e
  JOIN disputed AS d ON d.person_id = e.person_id AND d.event_us = e.event_us
), settled AS (  -- what the first event of such a moment says, and the first one that names a source
  SELECT
    person_id, event_us, MAX(CASE WHEN tie_no = 1 AND touch_rank IS NOT NULL THEN source_key END) AS first_key,
    MIN(CASE WHEN touch_rank = 1 THEN tie_no * 2147483648 + source_key END) % 2147483648 AS named_key
  FROM tie_broken
  GROUP BY person_id, event_us
), visits AS (
  SELECT *, MAX(opened_us) OVER (PARTITION BY person_id ORDER BY event_no NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS start_us
  FROM kept
), named AS (
  SELECT
    v.person_id, v.start_us, v.event_us, v.event_no,
    CASE WHEN v.event_us > v.start_us THEN NULL WHEN s.event_us IS NOT NULL THEN s.first_key WHEN v.touch_rank IS NOT NULL THEN v.source_key END AS arrival_key,
    CASE WHEN v.touch_rank = 1 THEN v.event_us END AS named_us,
    CASE WHEN v.touch_rank = 1 THEN v.event_no * 2147483648 + COALESCE(s.named_key, v.source_key) END AS named_key
  FROM visits AS v
  LEFT JOIN settled AS s ON s.person_id = v.person_id AND s.event_us = v.event_us
)
SELECT
  person_id, start_us, MAX(event_us) AS end_us, MAX(event_no) - MIN(event_no) + 1 AS n_events,
  COALESCE(MAX(arrival_key), MIN(named_key) % 2147483648, 0) AS source_key,
  CASE WHEN MAX(arrival_key) IS NOT NULL THEN start_us ELSE MIN(named_us) END AS source_us,
  start_us AS visit_start_us, MAX(event_us) AS visit_end_us, CAST(NULL AS VARCHAR) AS session_id, 1 AS tie_no
FROM named
GROUP BY person_id, start_us
