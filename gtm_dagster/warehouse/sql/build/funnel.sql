-- Persons by stage and source of the first session.
WITH counted AS (
  SELECT source, medium, campaign, channel, last_stage, count(*) AS n FROM meta.funnel_persons GROUP BY ALL)
SELECT c.source, c.medium, c.campaign, c.channel, s.stage, s.stage_no, sum(c.n) AS persons
FROM counted c
JOIN (SELECT DISTINCT stage_no, stage FROM funnel_stages) s ON s.stage_no <= c.last_stage
GROUP BY ALL
