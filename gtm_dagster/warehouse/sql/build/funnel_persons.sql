-- The furthest stage of each person. Stages are in order: who reached one was in all before it, so the last says it all.
WITH furthest AS (
  SELECT person_id, max(stage_no) AS last_stage FROM funnel_reached GROUP BY 1)
SELECT f.person_id, f.last_stage, o.source, o.medium, o.campaign, coalesce(o.channel, '(none)') AS channel
FROM furthest f
LEFT JOIN person_origin o ON o.person_id = f.person_id
