-- Credit and value by day of the conversion (report time zone), type, currency, model, window and channel.
SELECT
  c.day, c.conversion_type, c.currency, a.model, a.window_hours, a.channel,
  SUM(a.credit) AS conversions, SUM(a.value) AS credited_value
FROM attribution_credits AS a
JOIN conversions AS c ON c.conversion_id = a.conversion_id
GROUP BY c.day, c.conversion_type, c.currency, a.model, a.window_hours, a.channel
