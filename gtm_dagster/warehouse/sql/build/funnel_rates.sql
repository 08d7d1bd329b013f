-- Stages by day of the first session and channel, and over all of either: persons, rates, and the time from the stage before,
-- which half and 90 % of the persons needed at most. Persons without a session have no day, and stand in all days alone.
WITH counted AS (
  SELECT o.first_day AS cohort_day, coalesce(o.channel, '(none)') AS channel, p.stage_no, count(*) AS persons,
    quantile_disc(p.waited_us, [0.5, 0.9]) AS waited, grouping(o.first_day) AS all_days, grouping(coalesce(o.channel, '(none)')) AS all_channels
  FROM meta.funnel_persons p
  LEFT JOIN meta.person_origin o ON o.person_no = p.person_no
  GROUP BY GROUPING SETS ((o.first_day, coalesce(o.channel, '(none)'), p.stage_no), (o.first_day, p.stage_no),
    (coalesce(o.channel, '(none)'), p.stage_no), (p.stage_no))),
cells AS (
  SELECT all_days, all_channels, cohort_day, channel, persons AS began
  FROM counted
  WHERE stage_no = 1 AND (all_days = 1 OR cohort_day IS NOT NULL)),
filled AS (
  SELECT c.all_days, c.all_channels, c.cohort_day, c.channel, c.began, s.stage, s.stage_no, coalesce(n.persons, 0) AS persons, n.waited,
    coalesce(b.persons, 0) AS before
  FROM cells c
  CROSS JOIN funnel_names s
  LEFT JOIN counted n ON n.stage_no = s.stage_no AND n.all_days = c.all_days AND n.all_channels = c.all_channels
    AND n.cohort_day IS NOT DISTINCT FROM c.cohort_day AND n.channel IS NOT DISTINCT FROM c.channel
  LEFT JOIN counted b ON b.stage_no = s.stage_no - 1 AND b.all_days = c.all_days AND b.all_channels = c.all_channels
    AND b.cohort_day IS NOT DISTINCT FROM c.cohort_day AND b.channel IS NOT DISTINCT FROM c.channel)
SELECT cohort_day, CASE WHEN all_channels = 1 THEN '(all)' ELSE channel END AS channel, stage, stage_no, persons,
  CASE WHEN stage_no > 1 AND before > 0 THEN persons / before END AS rate_from_before, persons / began AS rate_from_first,
  waited[1] / 3.6e9 AS median_hours, waited[2] / 3.6e9 AS p90_hours
FROM filled
