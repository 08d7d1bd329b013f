-- Who brought the persons of the last stage: each person shared by the model among the sessions that began at or before it,
-- with the source known by then and no lookback; first sessions of the period. A channel or campaign that is selected is that
-- of the credited session, which need not be the first; source and medium do not apply.
SELECT channel, model, SUM(persons) AS persons
FROM marts.funnel_by_model
WHERE cohort_day BETWEEN $from AND $to
  AND stage_no = (SELECT MAX(stage_no) FROM marts.funnel_rates)
  AND ($channel IS NULL OR channel = $channel)
  AND ($campaign IS NULL OR coalesce(campaign, '(not set)') = $campaign)
GROUP BY channel, model
ORDER BY channel, model
