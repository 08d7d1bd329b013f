-- The rows of the log for the restated cells: the difference of each reason, the rest to reason $rest, in order. What is less than
-- a part in 1e9 of the cell is rounding.
WITH totals AS (
  SELECT cell_no, conversions_after - conversions_before AS conversions, coalesce(value_after - value_before, 0) AS value,
    1e-9 * greatest(abs(conversions_before), abs(conversions_after)) AS conversions_rounding,
    1e-9 * coalesce(greatest(abs(value_before), abs(value_after)), 0) AS value_rounding
  FROM restated_cells),
rests AS (
  SELECT t.cell_no, $rest AS reason_no, t.conversions - coalesce(sum(p.conversions), 0) AS conversions,
    t.value - coalesce(sum(p.value), 0) AS value
  FROM totals t
  LEFT JOIN restated_parts p ON p.cell_no = t.cell_no
  GROUP BY t.cell_no, t.conversions, t.value, t.conversions_rounding, t.value_rounding
  HAVING abs(t.conversions - coalesce(sum(p.conversions), 0)) > t.conversions_rounding
    OR abs(t.value - coalesce(sum(p.value), 0)) > t.value_rounding),
parts AS (
  SELECT u.cell_no, u.reason_no, sum(u.conversions) AS conversions, sum(u.value) AS value
  FROM (SELECT * FROM restated_parts UNION ALL SELECT * FROM rests) u
  JOIN totals t ON t.cell_no = u.cell_no
  GROUP BY u.cell_no, u.reason_no, t.conversions_rounding, t.value_rounding
  HAVING abs(sum(u.conversions)) > t.conversions_rounding OR abs(sum(u.value)) > t.value_rounding),
walk AS (
  SELECT *,
    sum(conversions) OVER (PARTITION BY cell_no ORDER BY reason_no ROWS UNBOUNDED PRECEDING) AS conversions_so_far,
    sum(value) OVER (PARTITION BY cell_no ORDER BY reason_no ROWS UNBOUNDED PRECEDING) AS value_so_far,
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
  n.detail
FROM walk w
JOIN restated_cells d ON d.cell_no = w.cell_no
JOIN restatement_reasons n ON n.reason_no = w.reason_no
CROSS JOIN meta.restatement_state s
