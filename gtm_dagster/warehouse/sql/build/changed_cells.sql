-- Cells of marts.channel_attribution that are not what the restatement log saw last: by more than a part in 1e9, come or gone.
WITH both_sides AS (
  SELECT *, false AS is_after FROM meta.compared_credit
  UNION ALL BY NAME
  SELECT day, conversion_type, currency, model, window_hours, channel, conversions, value, net_value, spend, true AS is_after
  FROM marts.channel_attribution),
cells AS (
  SELECT day, conversion_type, currency, model, window_hours, channel,
    bool_or(NOT is_after) AS is_before, bool_or(is_after) AS is_after,
    coalesce(sum(conversions) FILTER (NOT is_after), 0) AS conversions_before,
    coalesce(sum(conversions) FILTER (is_after), 0) AS conversions_after,
    sum(value) FILTER (NOT is_after) AS value_before, sum(value) FILTER (is_after) AS value_after,
    sum(net_value) FILTER (NOT is_after) AS net_before, sum(net_value) FILTER (is_after) AS net_after,
    sum(spend) FILTER (NOT is_after) AS spend_before, sum(spend) FILTER (is_after) AS spend_after
  FROM both_sides
  GROUP BY ALL)
SELECT *
FROM cells
WHERE is_before <> is_after
  OR abs(conversions_after - conversions_before) > 1e-9 * greatest(abs(conversions_before), abs(conversions_after))
  OR (value_before IS NULL) <> (value_after IS NULL)
  OR abs(value_after - value_before) > 1e-9 * greatest(abs(value_before), abs(value_after))
  OR (net_before IS NULL) <> (net_after IS NULL)
  OR abs(net_after - net_before) > 1e-9 * greatest(abs(value_before), abs(value_after))
  OR (spend_before IS NULL) <> (spend_after IS NULL)
  OR abs(spend_after - spend_before) > 1e-9 * greatest(abs(spend_before), abs(spend_after))
