-- Credit beside spend under the names of the warehouse.
SELECT
  day, conversion_type, currency, model, window_hours, channel, conversions, gross AS value, refunded, net AS net_value,
  cost AS spend, cost_currency AS spend_currency, cpa, roas
FROM channel_sums
