-- Spend beside each conversion type that it can be compared with: of a type with values in the spend's own currency, of one
-- without only where all spend is of one currency.
WITH types AS (
  SELECT conversion_type AS type_name, COUNT(currency) AS n_priced
  FROM conversions
  GROUP BY conversion_type
), totals AS (
  SELECT COUNT(DISTINCT currency) AS n_currencies
  FROM spend
)
SELECT
  s.day, t.type_name, CASE WHEN t.n_priced > 0 THEN s.currency END AS type_currency, s.currency AS spend_currency,
  s.source, s.medium, s.campaign, s.channel, SUM(s.cost) AS amount
FROM spend AS s
CROSS JOIN types AS t
CROSS JOIN totals AS n
WHERE t.n_priced > 0 OR n.n_currencies = 1
GROUP BY s.day, t.type_name, t.n_priced, s.currency, s.source, s.medium, s.campaign, s.channel
