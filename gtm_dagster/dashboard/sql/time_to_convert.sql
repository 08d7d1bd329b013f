-- Conversions of this type in the period by the time from the oldest touch in the longest lookback to the conversion.
WITH wanted AS (
  SELECT conversion_id FROM core.conversions
  WHERE day BETWEEN $from AND $to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
), oldest AS (
  SELECT t.conversion_id, MAX(t.age_us) / 3.6e9 AS hours
  FROM core.touchpoints AS t
  JOIN wanted AS w ON w.conversion_id = t.conversion_id
  WHERE t.conversion_us >= epoch_us(CAST($from AS TIMESTAMP)) - 86400000000
  GROUP BY t.conversion_id
), binned AS (
  SELECT CASE
    WHEN o.hours IS NULL THEN 8
    WHEN o.hours < 1 THEN 1 WHEN o.hours < 24 THEN 2 WHEN o.hours < 72 THEN 3 WHEN o.hours < 168 THEN 4
    WHEN o.hours < 336 THEN 5 WHEN o.hours < 720 THEN 6 ELSE 7
  END AS bin
  FROM wanted AS w
  LEFT JOIN oldest AS o ON o.conversion_id = w.conversion_id
), bins (bin, time_to_convert) AS (
  VALUES
    (1, 'under 1 hour'), (2, '1 to 24 hours'), (3, '1 to 3 days'), (4, '3 to 7 days'), (5, '7 to 14 days'),
    (6, '14 to 30 days'), (7, '30 days and more'), (8, 'no touch before it')
)
SELECT b.time_to_convert, COUNT(n.bin) AS conversions
FROM bins AS b
LEFT JOIN binned AS n ON n.bin = b.bin
WHERE EXISTS (SELECT 1 FROM wanted)
GROUP BY b.bin, b.time_to_convert
ORDER BY b.bin
