-- What credit is computed from.
SELECT
  t.conversion_id, t.session_key, t.touch_us, t.tie_no, t.age_us, t.source_key, c.channel_no, c.is_direct, c.is_paid
FROM touchpoints AS t
JOIN channels AS c ON c.channel = t.channel
