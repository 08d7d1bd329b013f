-- Persons (or accounts) by the period of their first activity, and the share of them that were active 0, 1, 2 ... periods
-- later; the newest cohorts. A cell that is open has a period that is not over by the newest day, so its share still grows.
WITH counted AS (
  SELECT cohort, channel, period, persons AS n, retained, is_open FROM marts.retention WHERE $count = 'persons'
  UNION ALL
  SELECT cohort, channel, period, accounts, retained, is_open FROM marts.retention_accounts WHERE $count = 'accounts'
), kept AS (
  SELECT * FROM counted WHERE $channel IS NULL OR channel = $channel
), newest AS (
  SELECT cohort FROM kept GROUP BY cohort ORDER BY cohort DESC LIMIT CAST($cohorts AS INTEGER)
)
SELECT
  cohort,
  period,
  CAST(SUM(n) AS BIGINT) AS size,
  CAST(SUM(retained) AS BIGINT) AS retained,
  SUM(retained) * 1.0e0 / SUM(n) AS rate,
  BOOL_OR(is_open) AS is_open
FROM kept
WHERE cohort IN (SELECT cohort FROM newest)
GROUP BY cohort, period
ORDER BY cohort, period
