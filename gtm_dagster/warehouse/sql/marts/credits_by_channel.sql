-- Credit of each touch where each channel of a path earns the same, in equal parts to its touches: the channels share the
-- conversion (linear_unique, shares_whole = 1), or each has it whole (participation, shares_whole = 0).
WITH counted AS (
  SELECT
    t.path_no, t.conversion_id, t.session_key, t.source_key, t.channel_no,
    COUNT(*) OVER (PARTITION BY t.path_no, t.conversion_id, t.channel_no) AS channel_touches
  FROM path_touches AS t
  WHERE t.path_no IN (SELECT path_no FROM windows WHERE method = 'by_channel')
), totals AS (
  SELECT path_no, conversion_id, COUNT(DISTINCT channel_no) AS channels
  FROM counted
  GROUP BY path_no, conversion_id
)
SELECT
  t.conversion_id, w.model, w.window_hours, t.session_key, t.source_key,
  CAST(CASE WHEN w.shares_whole = 1 THEN 1e0 / n.channels ELSE 1e0 END / t.channel_touches AS DOUBLE) AS credit
FROM counted AS t
JOIN totals AS n ON n.path_no = t.path_no AND n.conversion_id = t.conversion_id
JOIN windows AS w ON w.path_no = t.path_no AND w.method = 'by_channel'
