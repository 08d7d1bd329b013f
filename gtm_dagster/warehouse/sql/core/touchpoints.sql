-- One row a (conversion, touch) pair of the same person: the touch is at or before the conversion and no more than the
-- longest lookback before it. Of a touch before the conversion counts what was known then: a source that is named after
-- the conversion is direct (0) for it. Kept are the $max_touches newest touches of a conversion and the oldest one in each
-- lookback; n_touches says how many there were.
-- One pass over touches, conversions and beginnings of lookbacks numbers a person's touches and finds which numbers a
-- lookback holds. Touches are then fetched by blocks of $max_touches numbers: no pair is looked at that is far from kept.
WITH persons AS (
  SELECT DISTINCT person_id
  FROM conversion_moments
), marks AS (  -- in one moment by tie_no: lookbacks begin before its touches, conversions come behind them
  SELECT
    t.person_id, NULL AS conversion_id, NULL AS conversion_us, t.touch_us AS mark_us, t.tie_no,
    t.session_key, t.source_key, t.source_us
  FROM touches AS t
  JOIN persons AS p ON p.person_id = t.person_id
  UNION ALL
  SELECT
    c.person_id, c.conversion_id, c.conversion_us, c.conversion_us AS mark_us, 9223372036854775807 AS tie_no,
    NULL AS session_key, NULL AS source_key, NULL AS source_us
  FROM conversion_moments AS c
  UNION ALL
  SELECT
    c.person_id, c.conversion_id, c.conversion_us, c.conversion_us - l.lookback_us AS mark_us, 0 AS tie_no,
    NULL AS session_key, NULL AS source_key, NULL AS source_us
  FROM conversion_moments AS c
  CROSS JOIN lookbacks AS l
), numbered AS (  -- of a touch its number, of the others how many touches lie before
  SELECT
    person_id, conversion_id, conversion_us, mark_us, tie_no, session_key, source_key, source_us,
    COUNT(session_key) OVER (PARTITION BY person_id ORDER BY mark_us NULLS FIRST, tie_no NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS touch_no
  FROM marks
), spans AS (
  SELECT
    person_id, conversion_id, conversion_us, MIN(touch_no) + 1 AS first_no, MAX(touch_no) AS last_no,
    GREATEST(MIN(touch_no) + 1, MAX(touch_no) - $max_touches + 1) AS from_no
  FROM numbered
  WHERE conversion_id IS NOT NULL
  GROUP BY person_id, conversion_id, conversion_us
  HAVING MAX(touch_no) > MIN(touch_no)
), oldest AS (  -- the oldest touch in each lookback, where it is not among the newest
  SELECT DISTINCT s.person_id, s.conversion_id, s.conversion_us, s.first_no, s.last_no, n.touch_no + 1 AS oldest_no
  FROM spans AS s
  JOIN numbered AS n ON n.conversion_id = s.conversion_id
  WHERE n.touch_no + 1 < s.from_no
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
    n.person_id, n.session_key, n.mark_us, n.tie_no, n.source_key, n.source_us
  FROM blocks AS b
  JOIN numbered AS n ON n.person_id = b.person_id AND n.touch_no - n.touch_no % $max_touches = b.block_no
  WHERE n.touch_no >= b.from_no AND n.touch_no <= b.last_no AND n.session_key IS NOT NULL
  UNION ALL
  SELECT
    o.conversion_id, o.conversion_us, o.first_no, o.last_no,
    n.person_id, n.session_key, n.mark_us, n.tie_no, n.source_key, n.source_us
  FROM oldest AS o
  JOIN numbered AS n ON n.person_id = o.person_id AND n.touch_no = o.oldest_no
  WHERE n.session_key IS NOT NULL
)
SELECT
  k.conversion_id, k.person_id, k.conversion_us, k.session_key, k.mark_us AS touch_us, k.tie_no,
  k.conversion_us - k.mark_us AS age_us, CASE WHEN k.source_us <= k.conversion_us THEN k.source_key ELSE 0 END AS touch_key,
  k.last_no - k.first_no + 1 AS n_touches, k.last_no - k.first_no + 1 > $max_touches + COALESCE(m.n_oldest, 0) AS is_truncated
FROM kept AS k
LEFT JOIN more AS m ON m.conversion_id = k.conversion_id
