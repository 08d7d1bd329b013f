-- The most frequent ways to a conversion of this type in the period: channels of the touches in the longest lookback, oldest
-- first, the same channel several times in a row once, at most the eight newest. The model does not matter here.
WITH wanted AS (
  SELECT conversion_id, value FROM core.conversions
  WHERE day BETWEEN $from AND $to AND conversion_type = $type AND currency IS NOT DISTINCT FROM $currency
), touches AS (
  SELECT
    t.conversion_id, t.channel, t.touch_us, t.tie_no,
    LAG(t.channel) OVER (PARTITION BY t.conversion_id ORDER BY t.touch_us, t.tie_no) AS channel_before
  FROM core.touchpoints AS t
  JOIN wanted AS w ON w.conversion_id = t.conversion_id
  WHERE t.conversion_us >= epoch_us(CAST($from AS TIMESTAMP)) - 86400000000
), paths AS (
  SELECT conversion_id, list(channel ORDER BY touch_us, tie_no) AS channels
  FROM touches WHERE channel_before IS DISTINCT FROM channel GROUP BY conversion_id
), named AS (
  SELECT
    coalesce(
      array_to_string(CASE WHEN len(p.channels) > 8 THEN list_concat(['…'], p.channels[-8:]) ELSE p.channels END, ' > '),
      '(no touch)'
    ) AS path,
    w.value
  FROM wanted AS w
  LEFT JOIN paths AS p ON p.conversion_id = w.conversion_id
)
SELECT
  path,
  COUNT(*) AS conversions,
  COUNT(*) * 1.0e0 / SUM(COUNT(*)) OVER () AS share_of_conversions,
  SUM(value) AS value
FROM named
GROUP BY path
ORDER BY conversions DESC, path
LIMIT 15
