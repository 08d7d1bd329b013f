-- Conversions credited to each channel by every model and window that is computed, of the conversions of one type and
-- currency whose day lies in the period. Of each model and window the channels add up to all conversions, (unattributed)
-- included. The interval is of 95 %, by person: its half is 1.96 times the root of the squares of what each person adds.
WITH chosen AS (
  SELECT conversion_id
  FROM core.conversions
  WHERE day BETWEEN $from AND $to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
), by_person AS (
  SELECT a.channel, a.model, a.window_hours, a.person_no, SUM(a.credit) AS n
  FROM marts.attribution_credits AS a
  JOIN chosen AS c ON c.conversion_id = a.conversion_id
  GROUP BY a.channel, a.model, a.window_hours, a.person_no
)
SELECT
  channel,
  model,
  window_hours,
  SUM(n) AS conversions,
  greatest(SUM(n) - 1.96 * sqrt(SUM(n * n)), 0) AS low,
  SUM(n) + 1.96 * sqrt(SUM(n * n)) AS high
FROM by_person
GROUP BY channel, model, window_hours
ORDER BY channel = '(unattributed)', channel, model, window_hours
