-- The rows of core.touchpoints for the pairs found; their conversions and sessions are row numbers.
SELECT c.conversion_id, s.session_key, make_timestamp(t.touch_us) AS touch_time, t.age_us / 3.6e9 AS age_hours, o.source, o.medium,
  o.campaign, o.channel, s.person_id, t.conversion_us, t.touch_us, t.age_us, t.touch_key AS source_key,
  t.tie_no, t.n_touches, t.is_truncated, t.person_id AS person_no
FROM ($touchpoints) t
JOIN core.conversions c ON c.rowid = t.conversion_id
JOIN core.sessions s ON s.rowid = t.session_key
JOIN core.sources o ON o.source_key = t.touch_key
