-- One row a (conversion, touch) pair of the same person: the touch is at or before the conversion and no more than the
-- longest lookback before it. Of a touch before the conversion counts what was known then: a source that is named after
-- the conversion is direct (0) for it. Kept are the $max_touches newest touches of a conversion and the oldest one in each
-- lookback; n_touches says how many there were.
-- Touches are numbered within a person, and the numbers that a lookback holds are found in one pass over touches and
-- conversions. They are fetched by blocks of $max_touches numbers, so no pair is looked at that is not kept or nearly so.
WITH persons AS (
  SELECT DISTINCT person_id
  FROM conversion_moments
), numbered AS (
  SELECT
    t.person_id, t.session_key, t.touch_us, t.tie_no, t.source_key, t.source_us,
    ROW_NUMBER() OVER (PARTITION BY t.person_id ORDER BY t.touch_us NULLS FIRST, t.tie_no NULLS FIRST) AS touch_no
  FROM touches AS t
  JOIN persons AS p ON p.person_id = t.person_id
), marks AS (  -- of one moment, lookbacks begin before its touches, and conversions come behind them
  SELECT c.person_id, c.conversion_id, c.conversion_us, c.conversion_us AS mark_us, 2 AS mark_no, 0 AS touch_no
  FROM conversion_moments AS c
  UNION ALL
  SELECT c.person_id, c.conversion_id, c.conversion_us, c.conversion_us - l.lookback_us AS mark_us, 0 AS mark_no, 0 AS touch_no
  FROM conversion_moments AS c
  CROSS JOIN lookbacks AS l
  UNION ALL
  SELECT n.person_id, NULL AS conversion_id, NULL AS conversion_us, n.touch_us AS mark_us, 1 AS mark_no, n.touch_no
  FROM numbered AS n
), counted AS (
  SELECT
    person_id, conversion_id, conversion_us,
    MAX(touch_no) OVER (PARTITION BY person_id ORDER BY mark_us NULLS FIRST, mark_no NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before_no
  FROM marks
), spans AS (
  SELECT
    person_id, conversion_id, conversion_us, MIN(before_no) + 1 AS first_no, MAX(before_no) AS last_no,
    GREATEST(MIN(before_no) + 1, MAX(before_no) - $max_touches + 1) AS from_no
  FROM counted
  WHERE conversion_id IS NOT NULL
  GROUP BY person_id, conversion_id, conversion_us
  HAVING MAX(before_no) > MIN(before_no)
), oldest AS (  -- the oldest touch in each lookback, where it is not among the newest
  SELECT DISTINCT s.person_id, s.conversion_id, s.conversion_us, s.first_no, s.last_no, c.before_no + 1 AS touch_no
  FROM spans AS s
  JOIN counted AS c ON c.conversion_id = s.conversion_id
  WHERE c.before_no + 1 < s.from_no
), more AS (
  SELECT conversion_id, COUNT(*) AS n_oldest
  FROM oldest
  GROUP BY conversion_id
), blocks AS (
  SELECT person_id, conversion_id, conversion_us, first_no, last_no, from_no, last_no - last_no % $max_touches AS block_no
  FROM spans
  UNION ALL
  SELECT person_id, conversion_id, conversion_us, first_no, last_no, from_no, last_no - last_no % $max_touches - $max_touches AS block_no
  FROM spans
  WHERE from_no < last_no - last_no % $max_touches
), kept AS (
  SELECT
    b.conversion_id, b.conversion_us, b.first_no, b.last_no,
    n.person_id, n.session_key, n.touch_us, n.tie_no, n.source_key, n.source_us
  FROM blocks AS b
  JOIN numbered AS n ON n.person_id = b.person_id AND n.touch_no - n.touch_no % $max_touches = b.block_no
  WHERE n.touch_no >= b.from_no AND n.touch_no <= b.last_no
  UNION ALL
  SELECT
    o.conversion_id, o.conversion_us, o.first_no, o.last_no,
    n.person_id, n.session_key, n.touch_us, n.tie_no, n.source_key, n.source_us
  FROM oldest AS o
  JOIN numbered AS n ON n.person_id = o.person_id AND n.touch_no = o.touch_no
)
SELECT
  k.conversion_id, k.person_id, k.conversion_us, k.session_key, k.touch_us, k.tie_no,
  k.conversion_us - k.touch_us AS age_us, CASE WHEN k.source_us <= k.conversion_us THEN k.source_key ELSE 0 END AS touch_key,
  k.last_no - k.first_no + 1 AS n_touches, k.last_no - k.first_no + 1 > $max_touches + COALESCE(m.n_oldest, 0) AS is_truncated
FROM kept AS k
LEFT JOIN more AS m ON m.conversion_id = k.conversion_id
