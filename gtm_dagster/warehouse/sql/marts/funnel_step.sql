-- The first moment each person of funnel_reached (stage $stage_no - 1) did stage $stage_no: at or after the stage before,
-- and no sooner than $after_us behind it.
SELECT r.person_id, $stage_no AS stage_no, MIN(e.event_us) AS reached_us
FROM funnel_reached AS r
JOIN events AS e ON e.person_id = r.person_id AND e.event_us >= r.reached_us + $after_us
JOIN funnel_stages AS s ON s.stage_no = $stage_no AND s.event_name = e.event_name
WHERE r.stage_no = $stage_no - 1
GROUP BY r.person_id
