-- Gross value of the conversions of one type in one currency by day of the conversion, in the report time zone, beside that
-- of the day as many days earlier as the period is long. Refunds are not taken off. A day without anybody has no number.
WITH days AS (
  SELECT
    day,
    SUM(CASE WHEN conversion_type = $type AND currency IS NOT DISTINCT FROM $currency THEN value ELSE 0 END) AS v
  FROM marts.daily
  WHERE day BETWEEN coalesce($before_from, $from) AND $to
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
