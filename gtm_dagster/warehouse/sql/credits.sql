-- Credit of each touch for each conversion, model and lookback window; every window is a result of its own and its
-- credits add up to 1. A conversion without a touch in the window is one row of (unattributed).
-- time_decay: 2^(-age / half-life) (Adobe, Google Ads API); inverse_age: 1 / (1 + age in hours);
-- position_based: 40/20/40, 50/50 for two touches. Ages are taken from the youngest touch on, so nothing underflows.
WITH pairs AS (
  SELECT
    w.model, w.window_hours, w.half_life_us, t.conversion_id, t.person_id, t.conversion_us, t.session_key, t.touch_us,
    t.source_key, t.is_direct, CAST(t.age_us AS DOUBLE) AS age
  FROM scope_touchpoints AS t
  JOIN windows AS w ON t.age_us <= w.window_us
), ranked AS (
  SELECT *,
    ROW_NUMBER() OVER (PARTITION BY model, window_hours, conversion_id ORDER BY touch_us NULLS FIRST, session_key NULLS FIRST) AS touch_no,
    ROW_NUMBER() OVER (PARTITION BY model, window_hours, conversion_id ORDER BY is_direct NULLS FIRST, touch_us DESC NULLS LAST, session_key DESC NULLS LAST) AS non_direct_no,
    COUNT(*) OVER (PARTITION BY model, window_hours, conversion_id) AS touches,
    MIN(age) OVER (PARTITION BY model, window_hours, conversion_id) AS youngest
  FROM pairs
), weighted AS (
  SELECT *,
    CASE model
      WHEN 'first_touch' THEN CASE WHEN touch_no = 1 THEN 1e0 ELSE 0e0 END
      WHEN 'last_touch' THEN CASE WHEN touch_no = touches THEN 1e0 ELSE 0e0 END
      WHEN 'last_non_direct' THEN CASE WHEN non_direct_no = 1 THEN 1e0 ELSE 0e0 END
      WHEN 'linear' THEN 1e0
      WHEN 'position_based' THEN
        CASE WHEN touches <= 2 THEN 1e0 WHEN touch_no = 1 OR touch_no = touches THEN 4e-1 ELSE 2e-1 / (touches - 2) END
      WHEN 'time_decay' THEN POWER(2e0, (youngest - age) / half_life_us)
      WHEN 'inverse_age' THEN 1e0 / (1e0 + age / 3.6e9)
    END AS weight
  FROM ranked
), shared AS (
  SELECT *, weight / SUM(weight) OVER (PARTITION BY model, window_hours, conversion_id) AS share
  FROM weighted
)
SELECT
  conversion_id, person_id, conversion_us, model, window_hours, session_key, source_key, share AS credit
FROM shared
WHERE share > 0e0
UNION ALL
SELECT
  c.conversion_id, c.person_id, c.conversion_us, w.model, w.window_hours,
  CAST(NULL AS VARCHAR) AS session_key, CAST(NULL AS INT) AS source_key, 1e0 AS credit
FROM scope_conversions AS c
CROSS JOIN windows AS w
LEFT JOIN (SELECT DISTINCT model, window_hours, conversion_id FROM pairs) AS p
  ON p.conversion_id = c.conversion_id AND p.model = w.model AND p.window_hours = w.window_hours
WHERE p.conversion_id IS NULL
