-- The rows of marts.attribution_credits for the credits found; their touches are row numbers of core.touchpoints.
SELECT n.conversion_id, a.model, a.window_hours, t.session_key, coalesce(s.channel, '(unattributed)') AS channel, s.source, s.medium,
  s.campaign, a.credit, a.credit * n.value AS value, a.credit * n.net_value AS net_value, n.person_id, n.conversion_us, n.person_no
FROM ($credits) a
JOIN conversion_numbers n ON n.conversion_no = a.conversion_id
LEFT JOIN core.touchpoints t ON t.rowid = a.session_key
LEFT JOIN core.sources s ON s.source_key = a.source_key
