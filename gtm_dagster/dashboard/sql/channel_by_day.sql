-- Conversions credited by one model by day of the conversion, of the five channels with most in the period. A day counts 0
-- for a channel without any; one on which nobody came at all has no row.
WITH credited AS (
  SELECT day, channel, SUM(conversions) AS n
  FROM marts.channel_attribution
  WHERE day BETWEEN $from AND $to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
    AND model = $model AND window_hours = $window AND ($channel IS NULL OR channel = $channel)
  GROUP BY day, channel
), most AS (
  SELECT channel, SUM(n) AS total
  FROM credited
  GROUP BY channel
  ORDER BY total DESC, channel
  LIMIT 5
), days AS (
  SELECT DISTINCT day FROM marts.daily WHERE day BETWEEN $from AND $to
)
SELECT d.day, m.channel, coalesce(c.n, 0) AS conversions
FROM days AS d
CROSS JOIN most AS m
LEFT JOIN credited AS c ON c.day = d.day AND c.channel = m.channel
ORDER BY m.total DESC, m.channel, d.day
