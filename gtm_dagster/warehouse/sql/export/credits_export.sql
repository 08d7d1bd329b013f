-- The credits with their source and value.
SELECT
  a.conversion_id, a.model, a.window_hours, a.session_key, COALESCE(s.channel, '(unattributed)') AS channel,
  s.source, s.medium, s.campaign, a.credit, a.credit * c.value AS value, a.credit * c.net_value AS net_value, c.person_id, c.conversion_us
FROM credit_rows AS a
JOIN conversions AS c ON c.conversion_id = a.conversion_id
LEFT JOIN sources AS s ON s.source_key = a.source_key
