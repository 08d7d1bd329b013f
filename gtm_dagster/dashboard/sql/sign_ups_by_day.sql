-- Distinct persons with the event signup_completed by day, in the report time zone, beside those of the day as many days earlier as the period is long.
-- Somebody who comes on several days counts on each of them, so the days do not add up to persons of the period.
WITH days AS (
  SELECT day, MAX(sign_ups) AS n
  FROM marts.daily
  WHERE conversion_type IS NULL AND day BETWEEN coalesce($before_from, $from) AND $to
  GROUP BY day
), present AS (
  SELECT day, n FROM days WHERE day >= $from
), earlier AS (
  SELECT day + $days AS day, n FROM days WHERE day < $from
)
SELECT coalesce(p.day, e.day) AS day, p.n AS sign_ups, e.n AS sign_ups_before
FROM present AS p
FULL JOIN earlier AS e ON e.day = p.day
ORDER BY 1
