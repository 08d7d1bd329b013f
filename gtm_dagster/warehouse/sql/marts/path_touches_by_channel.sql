-- The touches of each conversion where channels have lookbacks of their own, or do not count: path_channels has a row for
-- each channel that counts. Numbered as in path_touches.
SELECT
  c.path_no, t.conversion_id, t.session_key, t.source_key, t.channel_no, t.is_direct, t.is_paid, t.age_us,
  ROW_NUMBER() OVER (PARTITION BY c.path_no, t.conversion_id ORDER BY t.touch_us DESC NULLS LAST, t.tie_no DESC NULLS LAST) AS back_no,
  MIN(t.age_us) OVER (PARTITION BY c.path_no, t.conversion_id) AS youngest_us
FROM conversion_touches AS t
JOIN path_channels AS c ON c.channel_no = t.channel_no AND t.age_us <= c.window_us
