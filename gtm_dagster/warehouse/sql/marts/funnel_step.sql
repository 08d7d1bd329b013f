-- The first event by which each person of funnel_reached (stage $stage_no - 1) did stage $stage_no: at or after the stage
-- before, no sooner than $after_us behind it, and another event than those of the stages before.
-- (person_id, event_us, event_no) names an event of `events`.
WITH candidates AS (
  SELECT e.person_id, e.event_us, e.event_no
  FROM funnel_reached AS r
  JOIN events AS e ON e.person_id = r.person_id AND e.event_us >= r.reached_us + $after_us
  JOIN funnel_stages AS s ON s.stage_no = $stage_no AND s.event_name = e.event_name
  LEFT JOIN funnel_reached AS u ON u.person_id = e.person_id AND u.reached_us = e.event_us AND u.reached_no = e.event_no
  WHERE r.stage_no = $stage_no - 1 AND u.person_id IS NULL
), placed AS (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST, event_no NULLS FIRST) AS place
  FROM candidates
)
SELECT person_id, $stage_no AS stage_no, event_us AS reached_us, event_no AS reached_no
FROM placed
WHERE place = 1
