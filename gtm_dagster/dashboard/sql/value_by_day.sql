-- Gross value of the conversions of one type in one currency by day of the conversion, in the report time zone, beside that
-- of the day as many days earlier as the period is long. Refunds are not taken off. A day without anybody has no number, nor
-- has one whose conversions say no value; a type that never says one has none at all.
WITH kept AS (
  SELECT
    day,
    CASE WHEN conversion_type = $type AND currency IS NOT DISTINCT FROM $currency THEN conversions ELSE 0 END AS n,
    CASE WHEN conversion_type = $type AND currency IS NOT DISTINCT FROM $currency THEN value END AS v
  FROM marts.daily
  WHERE day BETWEEN coalesce($before_from, $from) AND $to
), days AS (
  SELECT day, CASE WHEN SUM(n) > 0 THEN SUM(v) WHEN EXISTS (SELECT 1 FROM kept WHERE v IS NOT NULL) THEN 0 END AS v
  FROM kept
  GROUP BY day
), present AS (
  SELECT day, v FROM days WHERE day >= $from
), earlier AS (
  SELECT day + $days AS day, v FROM days WHERE day < $from
)
SELECT coalesce(p.day, e.day) AS day, p.v AS value, e.v AS value_before
FROM present AS p
FULL JOIN earlier AS e ON e.day = p.day
ORDER BY 1
