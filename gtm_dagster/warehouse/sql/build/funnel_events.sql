-- The events of the funnel. event_no names one among those of its person and moment: by (event_id, write_key) where an
-- event can do several stages, else by its stage, so that ids are not read.
SELECT e.person_no AS person_id, e.event_us, e.event_name, $event_no AS event_no
FROM meta.events e
JOIN (SELECT event_name, min(stage_no) AS stage_no FROM funnel_stages GROUP BY 1) s ON s.event_name = e.event_name
WHERE e.counted AND $among
