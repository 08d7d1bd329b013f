-- Cells of marts.channel_attribution that are not what the restatement log saw last: by more than a part in 1e9, come or gone.
WITH both_sides AS (
  SELECT day, conversion_type, currency, model, window_hours, channel, conversions, value, false AS is_after FROM meta.compared_credit
  UNION ALL
  SELECT day, conversion_type, currency, model, window_hours, channel, conversions, value, true FROM marts.channel_attribution
  WHERE conversions IS NOT NULL),
cells AS (
  SELECT day, conversion_type, currency, model, window_hours, channel,
    bool_or(NOT is_after) AS is_before, bool_or(is_after) AS is_after,
    coalesce(sum(conversions) FILTER (NOT is_after), 0) AS conversions_before,
    coalesce(sum(conversions) FILTER (is_after), 0) AS conversions_after,
    sum(value) FILTER (NOT is_after) AS value_before, sum(value) FILTER (is_after) AS value_after
  FROM both_sides
  GROUP BY ALL)
SELECT *
FROM cells
WHERE is_before <> is_after
  OR abs(conversions_after - conversions_before) > 1e-9 * greatest(abs(conversions_before), abs(conversions_after))
  OR (value_before IS NULL) <> (value_after IS NULL)
  OR abs(value_after - value_before) > 1e-9 * greatest(abs(value_before), abs(value_after))
