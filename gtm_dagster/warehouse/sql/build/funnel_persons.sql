-- The stages of each person, when each was reached, and how long after the one before.
SELECT r.person_id AS person_no, r.stage_no, r.reached_us, r.reached_us - b.reached_us AS waited_us
FROM funnel_reached r
LEFT JOIN funnel_reached b ON b.person_id = r.person_id AND b.stage_no = r.stage_no - 1
