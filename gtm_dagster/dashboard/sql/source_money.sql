-- The same within a channel, a step further each time: its sources, the mediums of a source, the campaigns of a medium.
-- Spend stands at the grain at which it was imported; what was imported for a whole channel or source stands as (not set).
WITH named AS (
  SELECT
    CASE
      WHEN $source IS NULL THEN coalesce(source, '(not set)')
      WHEN $medium IS NULL THEN coalesce(medium, '(not set)')
      ELSE coalesce(campaign, '(not set)')
    END AS name,
    conversions, value, spend, spend_currency, day
  FROM marts.campaign_performance
  WHERE day BETWEEN coalesce($before_from, $from) AND $to AND conversion_type = $type
    AND currency IS NOT DISTINCT FROM $currency AND model = $model AND window_hours = $window
    AND ($channel IS NULL OR channel = $channel)
    AND ($source IS NULL OR coalesce(source, '(not set)') = $source)
    AND ($medium IS NULL OR coalesce(medium, '(not set)') = $medium)
    AND ($campaign IS NULL OR coalesce(campaign, '(not set)') = $campaign)
), present AS (
  SELECT
    name, SUM(conversions) AS n, SUM(value) AS v, SUM(spend) AS s, MAX(spend_currency) AS spend_currency
  FROM named
  WHERE day >= $from
  GROUP BY name
), earlier AS (
  SELECT name, SUM(conversions) AS n
  FROM named
  WHERE day < $from
  GROUP BY name
), known AS (
  SELECT
    coalesce(bool_or(day BETWEEN $from AND $to), FALSE) AS is_known,
    coalesce(min(day) <= $before_from AND bool_or(day BETWEEN $before_from AND $before_to), FALSE) AS is_known_before
  FROM marts.daily
)
SELECT
  coalesce(p.name, e.name) AS name,
  CASE WHEN k.is_known THEN coalesce(p.n, 0) END AS conversions,
  CASE WHEN k.is_known_before THEN coalesce(e.n, 0) END AS conversions_before,
  p.v AS value,
  p.s AS spend,
  p.spend_currency,
  p.s / nullif(p.n, 0) AS cpa,
  p.v / nullif(p.s, 0) AS roas
FROM present AS p
FULL JOIN earlier AS e ON e.name = p.name
CROSS JOIN known AS k
ORDER BY coalesce(p.n, 0) DESC, 1
LIMIT 200
