-- The share of the persons (or accounts) of the first stage that reached each stage, by channel of the first session; first
-- sessions of the period. A channel without anybody at the first stage is not there.
WITH counted AS (
  SELECT cohort_day, stage_no, persons AS n, channel, source, medium, campaign
  FROM marts.funnel WHERE $count = 'persons'
  UNION ALL
  SELECT cohort_day, stage_no, accounts, channel, source, medium, campaign
  FROM marts.funnel_accounts WHERE $count = 'accounts'
), kept AS (
  SELECT channel, stage_no, SUM(n) AS n FROM counted
  WHERE cohort_day BETWEEN $from AND $to
    AND ($channel IS NULL OR channel = $channel)
    AND ($source IS NULL OR coalesce(source, '(not set)') = $source)
    AND ($medium IS NULL OR coalesce(medium, '(not set)') = $medium)
    AND ($campaign IS NULL OR coalesce(campaign, '(not set)') = $campaign)
  GROUP BY channel, stage_no
), first AS (
  SELECT channel, n FROM kept WHERE stage_no = 1
), stages AS (
  SELECT DISTINCT stage_no, stage FROM marts.funnel_rates WHERE channel = '(all)' AND cohort_day IS NULL
)
SELECT
  f.channel,
  s.stage,
  CAST(coalesce(k.n, 0) AS BIGINT) AS reached,
  coalesce(k.n, 0) * 1.0e0 / f.n AS rate_from_first
FROM first AS f
CROSS JOIN stages AS s
LEFT JOIN kept AS k ON k.channel = f.channel AND k.stage_no = s.stage_no
ORDER BY f.n DESC, f.channel, s.stage_no
