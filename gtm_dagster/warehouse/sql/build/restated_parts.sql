-- The difference of each restated cell by reason, from the credit of the affected conversions before and now.
WITH credit AS (
  SELECT conversion_id, day, conversion_type, currency, model, window_hours, channel, -credit AS credit, -value AS value,
    -net_value AS net_value
  FROM meta.replaced_credit
  UNION ALL
  SELECT a.conversion_id, c.day, c.conversion_type, c.currency, a.model, a.window_hours, a.channel, a.credit, a.value, a.net_value
  FROM marts.attribution_credits a
  JOIN core.conversions c ON c.conversion_id = a.conversion_id
  WHERE a.person_no IN (SELECT person_no FROM affected) AND a.conversion_id IN (SELECT conversion_id FROM restated_ids))
SELECT d.cell_no, i.reason_no, sum(k.credit) AS conversions, coalesce(sum(k.value), 0) AS value,
  coalesce(sum(k.net_value), 0) AS net_value, 0e0 AS spend
FROM credit k
JOIN restated_ids i ON i.conversion_id = k.conversion_id
JOIN restated_cells d ON d.day = k.day AND d.conversion_type = k.conversion_type AND d.currency IS NOT DISTINCT FROM k.currency
  AND d.model = k.model AND d.window_hours = k.window_hours AND d.channel = k.channel
WHERE $apart
GROUP BY ALL
