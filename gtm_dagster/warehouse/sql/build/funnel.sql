-- Persons by stage, source and day of the first session.
SELECT o.source, o.medium, o.campaign, coalesce(o.channel, '(none)') AS channel, o.first_day AS cohort_day, s.stage, p.stage_no, count(*) AS persons
FROM meta.funnel_persons p
JOIN funnel_names s ON s.stage_no = p.stage_no
LEFT JOIN meta.person_origin o ON o.person_no = p.person_no
GROUP BY ALL
