SELECT e.write_key, e.event_id, e.event_name, make_timestamp(e.event_us) AS event_time, p.id AS person_id, u.id AS user_id,
  a.id AS anonymous_id, e.* EXCLUDE (write_key, event_id, event_name, person_no, user_no, anonymous_no, event_us, received_us, bot_reason, browsing, counted, local_day, source_key, touch_rank),
  make_timestamp(e.received_us) AS received_at, e.event_us, e.received_us, e.browsing, e.local_day, e.source_key, e.touch_rank,
  e.bot_reason IS NOT NULL AS is_bot, e.bot_reason
FROM meta.events e
LEFT JOIN meta.ids p ON p.id_no = e.person_no
LEFT JOIN meta.ids u ON u.id_no = e.user_no
LEFT JOIN meta.ids a ON a.id_no = e.anonymous_no
