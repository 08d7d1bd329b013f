-- Persons by first period of activity and channel, and how many were active again `period` periods later.
-- retained_persons is what retention_person.sql gives; periods holds the first day of each cohort's period.
WITH back AS (
  SELECT first_no, first_channel, later_no, COUNT(*) AS returned
  FROM retained_persons
  GROUP BY first_no, first_channel, later_no
)
SELECT p.period_start AS cohort, s.first_channel AS channel, n.period_no AS period, s.returned AS persons, COALESCE(r.returned, 0) AS retained
FROM back AS s
JOIN periods AS p ON p.period_no = s.first_no
JOIN period_offsets AS n ON n.period_no + s.first_no <= $last_no
LEFT JOIN back AS r ON r.first_no = s.first_no AND r.first_channel = s.first_channel AND r.later_no = n.period_no
WHERE s.later_no = 0
