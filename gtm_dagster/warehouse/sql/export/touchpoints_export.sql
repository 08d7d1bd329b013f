-- The touchpoints with their source.
SELECT
  t.conversion_id, t.session_key, t.age_us / 3.6e9 AS age_hours, s.source, s.medium, s.campaign, s.channel,
  t.person_id, t.conversion_us, t.touch_us, t.age_us, t.touch_key AS source_key, t.tie_no, t.n_touches, t.is_truncated
FROM touchpoint_rows AS t
JOIN sources AS s ON s.source_key = t.touch_key
