-- What each channel earned and cost in the period by one model: credited conversions and value of one type and currency,
-- beside the conversions of the period before, and the spend that was imported. CPA is spend by credited conversion, ROAS
-- gross value by spend. Without imported spend both are empty, not 0; so is the ROAS of a type without value. Who earned
-- nothing has 0 conversions, of a period without any data nothing is known.
WITH present AS (
  SELECT
    channel, SUM(conversions) AS n, SUM(value) AS v, SUM(spend) AS s, MAX(spend_currency) AS spend_currency
  FROM marts.channel_attribution
  WHERE day BETWEEN $from AND $to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
    AND model = $model AND window_hours = $window
  GROUP BY channel
), earlier AS (
  SELECT channel, SUM(conversions) AS n
  FROM marts.channel_attribution
  WHERE day BETWEEN $before_from AND $before_to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
    AND model = $model AND window_hours = $window
  GROUP BY channel
), known AS (
  SELECT
    coalesce(bool_or(day BETWEEN $from AND $to), FALSE) AS is_known,
    coalesce(min(day) <= $before_from AND bool_or(day BETWEEN $before_from AND $before_to), FALSE) AS is_known_before
  FROM marts.daily
)
SELECT
  coalesce(p.channel, e.channel) AS channel,
  CASE WHEN k.is_known THEN coalesce(p.n, 0) END AS conversions,
  CASE WHEN k.is_known_before THEN coalesce(e.n, 0) END AS conversions_before,
  p.v AS value,
  p.s AS spend,
  p.spend_currency,
  p.s / nullif(p.n, 0) AS cpa,
  p.v / nullif(p.s, 0) AS roas
FROM present AS p
FULL JOIN earlier AS e ON e.channel = p.channel
CROSS JOIN known AS k
ORDER BY coalesce(p.channel, e.channel) = '(unattributed)', coalesce(p.n, 0) DESC, 1
