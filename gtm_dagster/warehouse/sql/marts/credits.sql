-- Credit of each touch for each conversion, model and lookback window; every window is a result of its own and its
-- credits add up to 1. A conversion without a touch in the window is one row of (unattributed).
-- time_decay: 2^(-age / half-life) (Adobe, Google Ads API); inverse_age: 1 / (1 + age in hours);
-- position_based: 40/20/40, 50/50 for two touches. Ages are taken from the youngest touch on, so nothing underflows.
-- Touches are ordered once, from the conversion backwards: a window holds the first `touches` of them, whatever the model.
WITH ordered AS (
  SELECT
    conversion_id, session_key, source_key, is_direct, age_us, CAST(age_us AS DOUBLE) AS age,
    ROW_NUMBER() OVER (PARTITION BY conversion_id ORDER BY touch_us DESC NULLS LAST, tie_no DESC NULLS LAST) AS back_no,
    MIN(CAST(age_us AS DOUBLE)) OVER (PARTITION BY conversion_id) AS youngest
  FROM conversion_touches
), spans AS (
  SELECT DISTINCT window_us, half_life_us
  FROM windows
), totals AS (
  SELECT
    o.conversion_id, s.window_us, COUNT(*) AS touches, MIN(CASE WHEN o.is_direct = 0 THEN o.back_no END) AS named_no,
    SUM(POWER(2e0, (o.youngest - o.age) / s.half_life_us)) AS decayed,
    SUM(1e0 / (1e0 + o.age / 3.6e9)) AS inverse
  FROM ordered AS o
  JOIN spans AS s ON o.age_us <= s.window_us
  GROUP BY o.conversion_id, s.window_us
), shared AS (
  SELECT
    o.conversion_id, w.model, w.window_hours, o.session_key, o.source_key,
    CASE w.model
      WHEN 'linear' THEN 1e0 / t.touches
      WHEN 'position_based' THEN
        CASE WHEN t.touches <= 2 THEN 1e0 / t.touches WHEN o.back_no = 1 OR o.back_no = t.touches THEN 4e-1 ELSE 2e-1 / (t.touches - 2) END
      WHEN 'time_decay' THEN POWER(2e0, (o.youngest - o.age) / w.half_life_us) / t.decayed
      WHEN 'inverse_age' THEN 1e0 / (1e0 + o.age / 3.6e9) / t.inverse
      ELSE 1e0
    END AS share
  FROM ordered AS o
  JOIN totals AS t ON t.conversion_id = o.conversion_id AND o.age_us <= t.window_us
  JOIN windows AS w ON w.window_us = t.window_us
  WHERE o.back_no = CASE w.model
      WHEN 'first_touch' THEN t.touches
      WHEN 'last_touch' THEN 1
      WHEN 'last_non_direct' THEN COALESCE(t.named_no, 1)
      ELSE o.back_no
    END
)
SELECT
  conversion_id, model, window_hours, session_key, source_key, share AS credit
FROM shared
WHERE share > 0e0
UNION ALL
SELECT
  c.conversion_id, w.model, w.window_hours,
  CAST(NULL AS VARCHAR) AS session_key, CAST(NULL AS INT) AS source_key, 1e0 AS credit
FROM conversion_moments AS c
CROSS JOIN windows AS w
LEFT JOIN totals AS t ON t.conversion_id = c.conversion_id AND t.window_us = w.window_us
WHERE t.conversion_id IS NULL
