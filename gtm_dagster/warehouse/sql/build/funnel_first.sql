-- When each person did the first stage, whose events do no other one: they need no number of their own.
SELECT e.person_no AS person_id, 1 AS stage_no, min(e.event_us) AS reached_us, CAST(1 AS BIGINT) AS reached_no
FROM meta.events e
WHERE e.counted AND $among AND e.event_name IN (SELECT event_name FROM funnel_stages WHERE stage_no = 1)
GROUP BY 1
