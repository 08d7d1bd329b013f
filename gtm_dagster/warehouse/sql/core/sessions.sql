-- One row a session of browsing_events: a session starts after more than $timeout_us without an event and, when asked,
-- at midnight of the report time zone ($split_midnight = 1) or where the person arrives anew ($split_campaign = 1): the arrival
-- of a moment (of its first event, else of the first one that names a source) is not the newest earlier one of the visit.
-- A session starts at a moment, so events of the same microsecond stay together; the first of them by (event_id, write_key)
-- is the session's first event. Its source: what that event names or else its referrer, else what the first later event
-- names, known from then on. After a midnight that splits a visit, whose first moment is no new arrival, nobody came: the
-- session has the source of the one before it.
WITH ordered AS (
  SELECT
    person_id, event_us, source_key, touch_rank, arrival, day_no,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS event_no,
    LAG(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS previous_us,
    LEAD(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS next_us,
    LAG(day_no) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS previous_day_no
  FROM browsing_events
), kept AS (  -- only the moments that can matter: gaps, touches, midnights, ties, ends
  SELECT
    person_id, event_us, event_no, previous_us, touch_rank, source_key, arrival,
    CASE WHEN previous_us = event_us OR next_us = event_us THEN 1 ELSE 0 END AS tied,
    CASE WHEN previous_us IS NULL OR event_us - previous_us > $timeout_us THEN 1 ELSE 0 END AS gap_before,
    CASE WHEN next_us IS NULL OR next_us - event_us > $timeout_us THEN 1 ELSE 0 END AS gap_behind,
    CASE WHEN previous_day_no <> day_no THEN 1 ELSE 0 END AS midnight_before
  FROM ordered
  WHERE touch_rank IS NOT NULL OR previous_us IS NULL OR next_us IS NULL
     OR event_us - previous_us > $timeout_us OR next_us - event_us > $timeout_us
     OR previous_us = event_us OR next_us = event_us
     OR ($split_midnight = 1 AND previous_day_no <> day_no)
), disputed AS (
  SELECT DISTINCT person_id, event_us
  FROM kept
  WHERE tied = 1 AND touch_rank IS NOT NULL
), tie_broken AS (
  SELECT e.person_id, e.event_us, e.touch_rank, e.source_key, e.arrival,
    ROW_NUMBER() OVER (PARTITION BY e.person_id, e.event_us ORDER BY e.event_id NULLS FIRST, e.write_key NULLS FIRST) AS tie_no,
    ROW_NUMBER() OVER (PARTITION BY e.person_id, e.event_us, e.touch_rank ORDER BY e.event_id NULLS FIRST, e.write_key NULLS FIRST) AS rank_no
  FROM browsing_events AS e
  JOIN disputed AS d ON d.person_id = e.person_id AND d.event_us = e.event_us
), settled AS (
  SELECT
    person_id, event_us, MAX(CASE WHEN tie_no = 1 THEN touch_rank END) AS first_rank,
    MAX(CASE WHEN tie_no = 1 THEN source_key END) AS first_key,
    MIN(CASE WHEN touch_rank = 1 THEN tie_no * 2147483648 + source_key END) % 2147483648 AS named_key,
    COALESCE(MAX(CASE WHEN tie_no = 1 THEN arrival END), MAX(CASE WHEN touch_rank = 1 AND rank_no = 1 THEN arrival END)) AS arrival
  FROM tie_broken
  GROUP BY person_id, event_us
), moments AS (  -- first_rank, first_key: of the first event; named_key: of the first one that names a source
  SELECT
    k.person_id, k.event_us,
    MAX(CASE WHEN s.event_us IS NULL THEN k.touch_rank ELSE s.first_rank END) AS moment_rank,
    MAX(CASE WHEN s.event_us IS NULL THEN k.source_key ELSE s.first_key END) AS moment_key,
    MAX(CASE WHEN k.touch_rank = 1 THEN COALESCE(s.named_key, k.source_key) END) AS moment_named,
    MAX(CASE WHEN s.event_us IS NULL THEN k.arrival ELSE s.arrival END) AS moment_arrival,
    MIN(k.event_no) AS first_no, MAX(k.event_no) AS last_no, MIN(k.previous_us) AS before_us,
    MAX(k.gap_before) AS opens, MAX(k.gap_behind) AS closes, MAX(k.midnight_before) AS after_midnight
  FROM kept AS k
  LEFT JOIN settled AS s ON s.person_id = k.person_id AND s.event_us = k.event_us
  GROUP BY k.person_id, k.event_us
), visits AS (
  SELECT *, SUM(opens) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS visit_no
  FROM moments
), carried AS (
  SELECT *, LAST_VALUE(moment_arrival IGNORE NULLS) OVER (PARTITION BY person_id, visit_no ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier_arrival
  FROM visits
), starts AS (
  SELECT *,
    CASE WHEN opens = 0 AND $split_midnight = 1 AND after_midnight = 1
           AND (moment_arrival IS NULL OR moment_arrival = earlier_arrival) THEN 1 ELSE 0 END AS continues,
    CASE WHEN opens = 1 OR ($split_midnight = 1 AND after_midnight = 1)
           OR ($split_campaign = 1 AND moment_arrival <> COALESCE(earlier_arrival, -1)) THEN 1 ELSE 0 END AS is_start
  FROM carried
), numbered AS (
  SELECT *, SUM(is_start) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS session_no
  FROM starts
), folded AS (
  SELECT
    person_id, visit_no, session_no,
    MIN(event_us) AS start_us, MIN(first_no) AS start_no,
    MAX(CASE WHEN is_start = 1 THEN before_us END) AS left_us,
    MAX(CASE WHEN is_start = 1 THEN continues END) AS is_continued,
    MAX(CASE WHEN is_start = 1 AND (moment_rank = 1 OR (moment_rank = 2 AND continues = 0)) THEN moment_key END) AS arrival_key,
    MIN(CASE WHEN moment_named IS NOT NULL THEN first_no * 2147483648 + moment_named END) % 2147483648 AS named_key,
    MIN(CASE WHEN moment_named IS NOT NULL THEN event_us END) AS named_us,
    MAX(CASE WHEN closes = 1 THEN event_us END) AS close_us, MAX(CASE WHEN closes = 1 THEN last_no END) AS close_no
  FROM numbered
  GROUP BY person_id, visit_no, session_no
), sourced AS (
  SELECT *,
    COALESCE(arrival_key, CASE WHEN is_continued = 0 THEN named_key END) AS own_key,
    CASE WHEN arrival_key IS NOT NULL THEN start_us WHEN is_continued = 0 THEN named_us END AS own_us
  FROM folded
), inherited AS (
  SELECT *, LAST_VALUE(own_key IGNORE NULLS) OVER (PARTITION BY person_id, visit_no ORDER BY start_us NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS visit_key
  FROM sourced
)
SELECT
  person_id, start_us,
  COALESCE(close_us, LEAD(left_us) OVER (PARTITION BY person_id ORDER BY start_us NULLS FIRST)) AS end_us,
  COALESCE(close_no + 1, LEAD(start_no) OVER (PARTITION BY person_id ORDER BY start_us NULLS FIRST)) - start_no AS n_events,
  COALESCE(own_key, CASE WHEN is_continued = 1 THEN visit_key END, 0) AS source_key,
  CASE WHEN own_us IS NULL AND is_continued = 1 AND visit_key IS NOT NULL THEN start_us ELSE own_us END AS source_us,
  MIN(start_us) OVER (PARTITION BY person_id, visit_no) AS visit_start_us,
  MAX(close_us) OVER (PARTITION BY person_id, visit_no) AS visit_end_us,
  CAST(NULL AS VARCHAR) AS session_id, 1 AS tie_no
FROM inherited
