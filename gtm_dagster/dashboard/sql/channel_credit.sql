-- Conversions that one model credits to each channel, beside last touch, of the conversions of one type and currency whose
-- day lies in the period. The interval is of 95 %: persons are what varies, with all their conversions at once, so its half
-- is 1.96 times the root of the squares of what each person adds. The interval of the difference is made of the differences
-- by person, so it is narrower than two intervals tell.
WITH chosen AS (
  SELECT conversion_id
  FROM core.conversions
  WHERE day BETWEEN $from AND $to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
), by_person AS (
  SELECT
    a.channel,
    a.person_no,
    SUM(CASE WHEN a.model = $model AND a.window_hours = $window THEN a.credit ELSE 0 END) AS n,
    SUM(CASE WHEN a.model = $last_touch AND a.window_hours = $last_touch_window THEN a.credit ELSE 0 END) AS l
  FROM marts.attribution_credits AS a
  JOIN chosen AS c ON c.conversion_id = a.conversion_id
  WHERE (a.model = $model AND a.window_hours = $window) OR (a.model = $last_touch AND a.window_hours = $last_touch_window)
  GROUP BY a.channel, a.person_no
), sums AS (
  SELECT
    channel,
    COUNT(CASE WHEN n > 0 THEN 1 END) AS persons,
    SUM(n) AS conversions,
    1.96 * sqrt(SUM(n * n)) AS half,
    CASE WHEN $last_touch IS NOT NULL THEN SUM(l) END AS last_touch,
    1.96 * sqrt(SUM((n - l) * (n - l))) AS half_difference
  FROM by_person
  GROUP BY channel
)
SELECT
  channel,
  persons,
  conversions,
  greatest(conversions - half, 0) AS low,
  conversions + half AS high,
  last_touch,
  conversions - last_touch AS difference,
  conversions - last_touch - half_difference AS difference_low,
  conversions - last_touch + half_difference AS difference_high
FROM sums
WHERE conversions > 0 OR last_touch > 0
ORDER BY channel = '(unattributed)', conversions DESC, channel
