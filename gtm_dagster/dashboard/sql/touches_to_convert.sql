-- Conversions of this type in the period by how many touches they have in the longest lookback.
WITH wanted AS (
  SELECT conversion_id FROM core.conversions
  WHERE day BETWEEN $from AND $to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
), counted AS (
  SELECT t.conversion_id, MAX(t.n_touches) AS n
  FROM core.touchpoints AS t
  JOIN wanted AS w ON w.conversion_id = t.conversion_id
  WHERE t.conversion_us >= epoch_us(CAST($from AS TIMESTAMP)) - 86400000000
  GROUP BY t.conversion_id
), binned AS (
  SELECT CASE
    WHEN c.n IS NULL THEN 0 WHEN c.n <= 5 THEN c.n WHEN c.n <= 10 THEN 6 ELSE 7
  END AS bin
  FROM wanted AS w
  LEFT JOIN counted AS c ON c.conversion_id = w.conversion_id
), bins (bin, touches) AS (
  VALUES (0, 'none'), (1, '1'), (2, '2'), (3, '3'), (4, '4'), (5, '5'), (6, '6 to 10'), (7, '11 and more')
)
SELECT b.touches, COUNT(n.bin) AS conversions
FROM bins AS b
LEFT JOIN binned AS n ON n.bin = b.bin
WHERE EXISTS (SELECT 1 FROM wanted)
GROUP BY b.bin, b.touches
ORDER BY b.bin
