-- How long before each conversion its person first did each stage: nothing for a stage that the person did later or never.
WITH first_times AS (
  SELECT person_id, stage_no, MIN(event_us) AS first_us
  FROM stage_events
  GROUP BY person_id, stage_no
)
SELECT c.conversion_id, f.stage_no, c.conversion_us - f.first_us AS stage_age_us
FROM conversion_moments AS c
JOIN first_times AS f ON f.person_id = c.person_id AND f.first_us <= c.conversion_us
