-- The rows of the log for the restated cells: the difference of each reason, the rest to reason $rest, that of spend to reason
-- $spend, in order. What is less than a part in 1e9 of the cell is rounding.
WITH totals AS (
  SELECT cell_no, conversions_after - conversions_before AS conversions, coalesce(value_after - value_before, 0) AS value,
    coalesce(net_after - net_before, 0) AS net_value, coalesce(spend_after, 0) - coalesce(spend_before, 0) AS spend,
    1e-9 * greatest(abs(conversions_before), abs(conversions_after)) AS conversions_rounding,
    1e-9 * coalesce(greatest(abs(value_before), abs(value_after)), 0) AS value_rounding,
    1e-9 * greatest(coalesce(spend_before, 0), coalesce(spend_after, 0)) AS spend_rounding,
    (spend_before IS NULL) <> (spend_after IS NULL) AS is_known_anew
  FROM restated_cells),
rests AS (
  SELECT t.cell_no, $rest AS reason_no, any_value(t.conversions) - coalesce(sum(p.conversions), 0) AS conversions,
    any_value(t.value) - coalesce(sum(p.value), 0) AS value, any_value(t.net_value) - coalesce(sum(p.net_value), 0) AS net_value, 0e0 AS spend
  FROM totals t
  LEFT JOIN restated_parts p ON p.cell_no = t.cell_no
  GROUP BY t.cell_no
  UNION ALL
  SELECT cell_no, $spend, 0e0, 0e0, 0e0, spend FROM totals),
sums AS (
  SELECT cell_no, reason_no, sum(conversions) AS conversions, sum(value) AS value, sum(net_value) AS net_value, sum(spend) AS spend
  FROM (SELECT * FROM restated_parts UNION ALL SELECT * FROM rests)
  GROUP BY ALL),
parts AS (
  SELECT s.*
  FROM sums s
  JOIN totals t ON t.cell_no = s.cell_no
  WHERE abs(s.conversions) > t.conversions_rounding OR abs(s.value) > t.value_rounding OR abs(s.net_value) > t.value_rounding
    OR abs(s.spend) > t.spend_rounding OR (s.reason_no = $spend AND t.is_known_anew)),
walk AS (
  SELECT *,
    sum(conversions) OVER (PARTITION BY cell_no ORDER BY reason_no ROWS UNBOUNDED PRECEDING) AS conversions_so_far,
    sum(value) OVER (PARTITION BY cell_no ORDER BY reason_no ROWS UNBOUNDED PRECEDING) AS value_so_far,
    sum(net_value) OVER (PARTITION BY cell_no ORDER BY reason_no ROWS UNBOUNDED PRECEDING) AS net_so_far,
    lead(reason_no) OVER (PARTITION BY cell_no ORDER BY reason_no) IS NULL AS is_last
  FROM parts)
SELECT s.last_no + row_number() OVER (ORDER BY d.day, d.conversion_type, d.currency, d.model, d.window_hours, d.channel, w.reason_no)
    AS restatement_no,
  $1::TIMESTAMP AS refreshed_at, s.compared_at AS previous_at, d.day, d.conversion_type, d.currency, d.model, d.window_hours,
  d.channel, n.reason,
  d.conversions_before + w.conversions_so_far - w.conversions AS conversions_before,
  CASE WHEN w.is_last THEN d.conversions_after ELSE d.conversions_before + w.conversions_so_far END AS conversions_after,
  d.value_before + w.value_so_far - w.value AS value_before,
  CASE WHEN w.is_last THEN d.value_after ELSE d.value_before + w.value_so_far END AS value_after,
  d.net_before + w.net_so_far - w.net_value AS net_before,
  CASE WHEN w.is_last THEN d.net_after ELSE d.net_before + w.net_so_far END AS net_after,
  d.spend_before, CASE WHEN w.reason_no = $spend THEN d.spend_after ELSE d.spend_before END AS spend_after, n.detail
FROM walk w
JOIN restated_cells d ON d.cell_no = w.cell_no
JOIN restatement_reasons n ON n.reason_no = w.reason_no
CROSS JOIN meta.restatement_state s
