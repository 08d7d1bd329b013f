-- Persons of each stage shared among channels and campaigns under each model. Who had no session by then is (unattributed).
WITH by_source AS (
  SELECT o.first_day AS cohort_day, p.stage_no, p.source_key, sum(p.first_share) AS first_touch, sum(p.last_share) AS last_touch,
    sum(p.named_share) AS last_non_direct, sum(p.linear_share) AS linear
  FROM meta.funnel_by_model_persons p
  LEFT JOIN meta.person_origin o ON o.person_no = p.person_no
  GROUP BY ALL),
shares AS (
  SELECT b.cohort_day, b.stage_no, s.channel, s.campaign, sum(b.first_touch) AS first_touch, sum(b.last_touch) AS last_touch,
    sum(b.last_non_direct) AS last_non_direct, sum(b.linear) AS linear
  FROM by_source b
  JOIN core.sources s ON s.source_key = b.source_key
  GROUP BY ALL),
reached AS (
  SELECT cohort_day, stage_no, sum(persons) AS persons FROM marts.funnel GROUP BY ALL),
attributed AS (
  SELECT cohort_day, stage_no, sum(first_touch) AS persons FROM shares GROUP BY ALL),
left_over AS (
  SELECT r.cohort_day, r.stage_no, '(unattributed)' AS channel, NULL AS campaign, r.persons - coalesce(a.persons, 0) AS persons
  FROM reached r
  LEFT JOIN attributed a ON a.cohort_day IS NOT DISTINCT FROM r.cohort_day AND a.stage_no = r.stage_no
  WHERE r.persons > coalesce(a.persons, 0)),
every AS (
  SELECT * FROM shares
  UNION ALL SELECT cohort_day, stage_no, channel, campaign, persons, persons, persons, persons FROM left_over)
SELECT e.cohort_day, m.model, s.stage, e.stage_no, e.channel, e.campaign,
  CASE m.model WHEN 'first_touch' THEN e.first_touch WHEN 'last_touch' THEN e.last_touch
    WHEN 'last_non_direct' THEN e.last_non_direct ELSE e.linear END AS share
FROM every e
JOIN funnel_names s ON s.stage_no = e.stage_no
CROSS JOIN (VALUES ('first_touch'), ('last_touch'), ('last_non_direct'), ('linear')) m(model)
WHERE share > 0
