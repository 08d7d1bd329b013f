-- Persons (or accounts) by stage, of those whose first session lies in the period: each stage another event than those
-- before it, at or after the one before, whenever it came. Recent first sessions have had less time to get far.
-- Channel, source and campaign are those of the first session. Beside them those of the period before.
WITH counted AS (
  SELECT cohort_day, stage_no, persons AS n, channel, source, medium, campaign
  FROM marts.funnel WHERE $count = 'persons'
  UNION ALL
  SELECT cohort_day, stage_no, accounts, channel, source, medium, campaign
  FROM marts.funnel_accounts WHERE $count = 'accounts'
), kept AS (
  SELECT cohort_day, stage_no, n FROM counted
  WHERE cohort_day BETWEEN coalesce($before_from, $from) AND $to
    AND ($channel IS NULL OR channel = $channel)
    AND ($source IS NULL OR coalesce(source, '(not set)') = $source)
    AND ($medium IS NULL OR coalesce(medium, '(not set)') = $medium)
    AND ($campaign IS NULL OR coalesce(campaign, '(not set)') = $campaign)
), stages AS (
  SELECT DISTINCT stage_no, stage FROM marts.funnel_rates WHERE channel = '(all)' AND cohort_day IS NULL
), sums AS (
  SELECT
    s.stage_no,
    s.stage,
    CAST(coalesce(SUM(CASE WHEN k.cohort_day >= $from THEN k.n END), 0) AS BIGINT) AS n,
    CAST(coalesce(SUM(CASE WHEN k.cohort_day < $from THEN k.n END), 0) AS BIGINT) AS n_before
  FROM stages AS s
  LEFT JOIN kept AS k ON k.stage_no = s.stage_no
  GROUP BY s.stage_no, s.stage
), ways AS (
  SELECT
    *,
    LAG(n) OVER (ORDER BY stage_no) AS earlier,
    FIRST_VALUE(n) OVER (ORDER BY stage_no) AS first,
    FIRST_VALUE(n_before) OVER (ORDER BY stage_no) AS first_before
  FROM sums
)
SELECT
  stage,
  n AS reached,
  n * 1.0e0 / nullif(earlier, 0) AS rate_from_before,
  n * 1.0e0 / nullif(first, 0) AS rate_from_first,
  CASE WHEN $before_from IS NOT NULL THEN n_before END AS reached_before,
  CASE WHEN $before_from IS NOT NULL THEN n_before * 1.0e0 / nullif(first_before, 0) END AS rate_from_first_before
FROM ways
ORDER BY stage_no
