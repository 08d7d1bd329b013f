-- Credit, value and spend at the grain at which spend is known: a credit is in the row of the finest spend it belongs to, or
-- of its own source where there is none; spend that no visit's source belongs to is a row marked (unmatched).
WITH results AS (
  SELECT DISTINCT model, window_hours
  FROM attribution_credits
), earned AS (
  SELECT
    c.day, c.conversion_type, c.currency, a.model, a.window_hours, a.source, a.medium, a.campaign, a.channel,
    SUM(a.credit) AS n, SUM(a.value) AS gross, SUM(a.net_value) AS net
  FROM attribution_credits AS a
  JOIN conversions AS c ON c.conversion_id = a.conversion_id
  GROUP BY c.day, c.conversion_type, c.currency, a.model, a.window_hours, a.source, a.medium, a.campaign, a.channel
), type_currencies AS (
  SELECT DISTINCT type_name, type_currency, spend_currency
  FROM spend_by_type
), finest AS (
  SELECT source, medium, campaign, channel, key_source, key_medium, key_campaign, key_channel, spend_currency, grain
  FROM spend_matches
  WHERE match_no = 1
), known AS (
  SELECT DISTINCT key_source, key_medium, key_campaign, key_channel, spend_currency, grain
  FROM spend_matches
), parts AS (
  SELECT
    e.day, e.conversion_type, e.currency, e.model, e.window_hours,
    CASE WHEN f.grain IS NULL THEN e.source ELSE f.key_source END AS row_source,
    CASE WHEN f.grain IS NULL THEN e.medium ELSE f.key_medium END AS row_medium,
    CASE WHEN f.grain IS NULL THEN e.campaign ELSE f.key_campaign END AS row_campaign,
    CASE WHEN f.grain IS NULL THEN e.channel ELSE f.key_channel END AS row_channel,
    f.grain, e.n, e.gross, e.net, CAST(NULL AS DOUBLE) AS amount, CAST(NULL AS VARCHAR) AS spend_currency
  FROM earned AS e
  LEFT JOIN type_currencies AS t ON t.type_name = e.conversion_type AND t.type_currency IS NOT DISTINCT FROM e.currency
  LEFT JOIN finest AS f
    ON f.spend_currency = t.spend_currency AND f.source = e.source AND f.medium = e.medium
    AND f.campaign IS NOT DISTINCT FROM e.campaign AND f.channel = e.channel
  UNION ALL
  SELECT
    s.day, s.type_name, s.type_currency, r.model, r.window_hours, s.source, s.medium, s.campaign, s.channel,
    COALESCE(k.grain, '(unmatched)'), 0e0, CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), s.amount, s.spend_currency
  FROM spend_by_type AS s
  LEFT JOIN known AS k
    ON k.spend_currency = s.spend_currency AND k.key_source IS NOT DISTINCT FROM s.source
    AND k.key_medium IS NOT DISTINCT FROM s.medium AND k.key_campaign IS NOT DISTINCT FROM s.campaign AND k.key_channel = s.channel
  CROSS JOIN results AS r
), sums AS (
  SELECT
    day, conversion_type, currency, model, window_hours, row_source, row_medium, row_campaign, row_channel, grain,
    SUM(n) AS conversions, SUM(gross) AS gross_value, SUM(net) AS net, SUM(amount) AS cost, MAX(spend_currency) AS cost_currency
  FROM parts
  GROUP BY day, conversion_type, currency, model, window_hours, row_source, row_medium, row_campaign, row_channel, grain
)
SELECT
  day, conversion_type, currency, model, window_hours, row_source, row_medium, row_campaign, row_channel, grain AS matched,
  conversions, gross_value, gross_value - net AS refunded, net, cost, cost_currency,
  CASE WHEN conversions > 0e0 THEN cost / conversions END AS cpa, CASE WHEN cost > 0e0 THEN gross_value / cost END AS roas
FROM sums
