-- Credit, value and spend by day (report time zone), type, currency, model, window and channel. Value is of the day of the
-- conversion, also what is given back of it later; spend is the same for every model. Spend that brought nothing is a row, too.
WITH results AS (
  SELECT DISTINCT model, window_hours
  FROM attribution_credits
), parts AS (
  SELECT
    c.day, c.conversion_type, c.currency, a.model, a.window_hours, a.channel,
    a.credit, a.value, a.net_value, CAST(NULL AS DOUBLE) AS amount, CAST(NULL AS VARCHAR) AS spend_currency
  FROM attribution_credits AS a
  JOIN conversions AS c ON c.conversion_id = a.conversion_id
  UNION ALL
  SELECT
    s.day, s.type_name, s.type_currency, r.model, r.window_hours, s.channel,
    0e0, CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), s.amount, s.spend_currency
  FROM spend_by_type AS s
  CROSS JOIN results AS r
), sums AS (
  SELECT
    day, conversion_type, currency, model, window_hours, channel,
    SUM(credit) AS conversions, SUM(value) AS gross, SUM(net_value) AS net, SUM(amount) AS cost, MAX(spend_currency) AS cost_currency
  FROM parts
  GROUP BY day, conversion_type, currency, model, window_hours, channel
)
SELECT
  day, conversion_type, currency, model, window_hours, channel, conversions, gross, gross - net AS refunded, net,
  cost, cost_currency, CASE WHEN conversions > 0e0 THEN cost / conversions END AS cpa,
  CASE WHEN cost > 0e0 THEN gross / cost END AS roas
FROM sums
