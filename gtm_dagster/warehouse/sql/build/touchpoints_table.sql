-- The rows of core.touchpoints for the pairs found.
SELECT t.conversion_id, t.session_key, make_timestamp(t.touch_us) AS touch_time, t.age_us / 3.6e9 AS age_hours, s.source, s.medium,
  s.campaign, s.channel, p.id AS person_id, t.conversion_us, t.touch_us, t.age_us, t.touch_key AS source_key,
  t.tie_no, t.person_id AS person_no
FROM ($touchpoints) t
JOIN meta.ids p ON p.id_no = t.person_id
JOIN core.sources s ON s.source_key = t.touch_key
