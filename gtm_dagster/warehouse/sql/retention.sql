-- Persons by first period of activity and channel, and how many were active again `period` periods later.
-- calendar gives each local day the number of its period and the first day of it.
WITH active AS (
  SELECT DISTINCT a.person_id, k.period_no
  FROM activity AS a
  JOIN calendar AS k ON k.local_day = a.local_day
), born AS (
  SELECT person_id, MIN(period_no) AS first_no
  FROM active
  GROUP BY person_id
), sized AS (
  SELECT b.first_no, COALESCE(o.channel, '(none)') AS first_channel, COUNT(*) AS size
  FROM born AS b
  LEFT JOIN person_origin AS o ON o.person_id = b.person_id
  GROUP BY b.first_no, COALESCE(o.channel, '(none)')
), back AS (
  SELECT b.first_no, COALESCE(o.channel, '(none)') AS first_channel, a.period_no - b.first_no AS period, COUNT(*) AS returned
  FROM born AS b
  JOIN active AS a ON a.person_id = b.person_id
  LEFT JOIN person_origin AS o ON o.person_id = b.person_id
  GROUP BY b.first_no, COALESCE(o.channel, '(none)'), a.period_no - b.first_no
)
SELECT p.period_start AS cohort, s.first_channel AS channel, n.period_no AS period, s.size AS persons, COALESCE(r.returned, 0) AS retained
FROM sized AS s
JOIN periods AS p ON p.period_no = s.first_no
JOIN period_offsets AS n ON n.period_no + s.first_no <= $last_no
LEFT JOIN back AS r ON r.first_no = s.first_no AND r.first_channel = s.first_channel AND r.period = n.period_no
