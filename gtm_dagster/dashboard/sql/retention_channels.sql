-- The share that was active 0, 1, 2 ... periods later by channel of the first session, over all cohorts whose period is over:
-- open cells are left out, so every number is a share of those who could have come back.
WITH counted AS (
  SELECT cohort, channel, period, persons AS n, retained, is_open FROM marts.retention WHERE $count = 'persons'
  UNION ALL
  SELECT cohort, channel, period, accounts, retained, is_open FROM marts.retention_accounts WHERE $count = 'accounts'
)
SELECT
  channel,
  period,
  CAST(SUM(n) AS BIGINT) AS size,
  CAST(SUM(retained) AS BIGINT) AS retained,
  SUM(retained) * 1.0e0 / SUM(n) AS rate
FROM counted
WHERE NOT is_open AND ($channel IS NULL OR channel = $channel)
GROUP BY channel, period
HAVING SUM(n) > 0
ORDER BY MAX(SUM(n)) OVER (PARTITION BY channel) DESC, channel, period
