-- Stages by day of the first session and channel, and over all of either: persons, rates, and the time from the stage before,
-- which half and 90 % of the persons needed at most. Persons without a session have no day, and stand in all days alone.
WITH counted AS (
  SELECT cohort_day, channel, stage_no, sum(persons) AS persons, grouping(cohort_day) AS all_days, grouping(channel) AS all_channels
  FROM marts.funnel
  GROUP BY GROUPING SETS ((cohort_day, channel, stage_no), (cohort_day, stage_no), (channel, stage_no), (stage_no))),
waits AS (
  SELECT p.stage_no, p.waited_us, o.first_day AS cohort_day, coalesce(o.channel, '(none)') AS channel
  FROM meta.funnel_persons p
  LEFT JOIN meta.person_origin o ON o.person_no = p.person_no
  WHERE p.stage_no > 1),
waited AS (
  SELECT cohort_day, channel, stage_no, quantile_disc(waited_us, [0.5, 0.9]) AS waited_us,
    grouping(cohort_day) AS all_days, grouping(channel) AS all_channels
  FROM waits
  GROUP BY GROUPING SETS ((cohort_day, channel, stage_no), (cohort_day, stage_no), (channel, stage_no), (stage_no))),
cells AS (
  SELECT all_days, all_channels, cohort_day, channel, persons AS began
  FROM counted
  WHERE stage_no = 1 AND (all_days = 1 OR cohort_day IS NOT NULL)),
filled AS (
  SELECT c.all_channels, c.cohort_day, c.channel, c.began, s.stage, s.stage_no, coalesce(n.persons, 0) AS persons,
    coalesce(b.persons, 0) AS before, w.waited_us
  FROM cells c
  CROSS JOIN funnel_names s
  LEFT JOIN counted n ON n.stage_no = s.stage_no AND n.all_days = c.all_days AND n.all_channels = c.all_channels
    AND n.cohort_day IS NOT DISTINCT FROM c.cohort_day AND n.channel IS NOT DISTINCT FROM c.channel
  LEFT JOIN counted b ON b.stage_no = s.stage_no - 1 AND b.all_days = c.all_days AND b.all_channels = c.all_channels
    AND b.cohort_day IS NOT DISTINCT FROM c.cohort_day AND b.channel IS NOT DISTINCT FROM c.channel
  LEFT JOIN waited w ON w.stage_no = s.stage_no AND w.all_days = c.all_days AND w.all_channels = c.all_channels
    AND w.cohort_day IS NOT DISTINCT FROM c.cohort_day AND w.channel IS NOT DISTINCT FROM c.channel)
SELECT cohort_day, CASE WHEN all_channels = 1 THEN '(all)' ELSE channel END AS channel, stage, stage_no, persons,
  CASE WHEN stage_no > 1 AND before > 0 THEN persons / before END AS rate_from_before, persons / began AS rate_from_first,
  waited_us[1] / 3.6e9 AS median_hours, waited_us[2] / 3.6e9 AS p90_hours
FROM filled
