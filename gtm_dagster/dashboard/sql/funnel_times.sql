-- Hours from the stage before to each stage, of all persons who reached it, over all days: half of them took at most the
-- median, 90 % at most the p90. Of one channel where one is selected; the period does not apply, nor source and campaign.
SELECT stage, persons, median_hours, p90_hours
FROM marts.funnel_rates
WHERE cohort_day IS NULL AND channel = coalesce($channel, '(all)') AND stage_no > 1
ORDER BY stage_no
