-- Conversions of one type and currency by day of the conversion, in the report time zone, beside those of the day as many
-- days earlier as the period is long. A day on which nobody came at all has no number: that nobody came and that nothing
-- was measured cannot be told apart. Unattributed are conversions without a session in the longest lookback before them.
WITH days AS (
  SELECT
    day,
    SUM(CASE WHEN conversion_type = $type AND currency IS NOT DISTINCT FROM $currency THEN conversions ELSE 0 END) AS n,
    SUM(CASE WHEN conversion_type = $type AND currency IS NOT DISTINCT FROM $currency THEN unattributed ELSE 0 END) AS u
  FROM marts.daily
  WHERE day BETWEEN coalesce($before_from, $from) AND $to
  GROUP BY day
), present AS (
  SELECT day, n, u FROM days WHERE day >= $from
), earlier AS (
  SELECT day + $days AS day, n, u FROM days WHERE day < $from
)
SELECT
  coalesce(p.day, e.day) AS day,
  CAST(p.n AS BIGINT) AS conversions,
  CAST(e.n AS BIGINT) AS conversions_before,
  CAST(p.u AS BIGINT) AS unattributed,
  CAST(e.u AS BIGINT) AS unattributed_before
FROM present AS p
FULL JOIN earlier AS e ON e.day = p.day
ORDER BY 1
