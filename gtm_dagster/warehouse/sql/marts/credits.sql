-- Credit of each touch for each conversion and window whose model reads places, ages and kinds of touches; every window is
-- a result of its own. A conversion without a touch that counts is one row of (unattributed), whatever the model.
-- time_decay: 2^(-age / half-life) (Adobe, Google Ads API); inverse_age: 1 / (1 + age in hours); position_based: shares of
-- the oldest, those between and the newest. Ages are taken from the youngest touch on, so nothing underflows.
WITH half_lives AS (
  SELECT DISTINCT path_no, half_life_us
  FROM windows
), totals AS (
  SELECT
    t.path_no, t.conversion_id, COUNT(*) AS touches, MIN(CASE WHEN t.is_direct = 0 THEN t.back_no END) AS named_no,
    MIN(CASE WHEN t.is_paid = 1 THEN t.back_no END) AS newest_paid_no, MAX(CASE WHEN t.is_paid = 1 THEN t.back_no END) AS oldest_paid_no,
    SUM(POWER(2e0, CAST(t.youngest_us - t.age_us AS DOUBLE) / h.half_life_us)) AS decayed,
    SUM(1e0 / (1e0 + t.age_us / 3.6e9)) AS inverse
  FROM path_touches AS t
  JOIN half_lives AS h ON h.path_no = t.path_no
  GROUP BY t.path_no, t.conversion_id
), shared AS (
  SELECT
    t.conversion_id, w.model, w.window_hours, t.session_key, t.source_key,
    CASE w.method
      WHEN 'linear' THEN 1e0 / n.touches
      WHEN 'position_based' THEN
        CASE
          WHEN n.touches = 1 THEN 1e0
          WHEN n.touches = 2 THEN CASE WHEN t.back_no = 2 THEN w.first_of_two ELSE 1e0 - w.first_of_two END
          WHEN t.back_no = 1 THEN w.last_share
          WHEN t.back_no = n.touches THEN w.first_share
          ELSE w.middle_share / (n.touches - 2)
        END
      WHEN 'time_decay' THEN POWER(2e0, CAST(t.youngest_us - t.age_us AS DOUBLE) / w.half_life_us) / n.decayed
      WHEN 'inverse_age' THEN 1e0 / (1e0 + t.age_us / 3.6e9) / n.inverse
      ELSE 1e0
    END AS share
  FROM path_touches AS t
  JOIN totals AS n ON n.path_no = t.path_no AND n.conversion_id = t.conversion_id
  JOIN windows AS w ON w.path_no = t.path_no
  WHERE t.back_no = CASE w.method
      WHEN 'first_touch' THEN n.touches
      WHEN 'last_touch' THEN 1
      WHEN 'last_non_direct' THEN COALESCE(n.named_no, 1)
      WHEN 'first_paid' THEN COALESCE(n.oldest_paid_no, n.touches)
      WHEN 'last_paid' THEN COALESCE(n.newest_paid_no, 1)
      WHEN 'by_channel' THEN 0
      WHEN 'by_stage' THEN 0
      ELSE t.back_no
    END
)
SELECT
  conversion_id, model, window_hours, session_key, source_key, share AS credit
FROM shared
WHERE share > 0e0
UNION ALL
SELECT
  c.conversion_id, w.model, w.window_hours, NULL AS session_key, NULL AS source_key, 1e0 AS credit
FROM conversion_moments AS c
CROSS JOIN half_lives AS p
LEFT JOIN totals AS n ON n.conversion_id = c.conversion_id AND n.path_no = p.path_no
JOIN windows AS w ON w.path_no = p.path_no
WHERE n.conversion_id IS NULL
