-- The event by which each person did the first stage, where one event can do several stages.
SELECT e.person_id, 1 AS stage_no, min(e.event_us) AS reached_us,
  arg_min(e.event_no, struct_pack(us := e.event_us, place := e.event_no)) AS reached_no
FROM events e
JOIN funnel_stages s ON s.stage_no = 1 AND s.event_name = e.event_name
GROUP BY 1
