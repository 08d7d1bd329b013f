-- Persons or accounts by first period of activity and channel, and how many were active again `period` periods later.
-- retained_persons is what retention_person.sql or retention_account.sql gives; periods holds the first day of each period.
-- From period $first_no to $last_no every period of a cohort is a row; what lies outside of them is far from the rest, and a
-- row only where somebody was active. Periods from $open_no on are not over.
WITH back AS (
  SELECT first_no, first_channel, later_no, COUNT(*) AS n_active
  FROM retained_persons
  GROUP BY first_no, first_channel, later_no
), cohorts AS (
  SELECT first_no, first_channel, n_active AS n_persons
  FROM back
  WHERE later_no = 0
), cells AS (
  SELECT c.first_no, c.first_channel, n.period_no AS later_no, c.n_persons
  FROM cohorts AS c
  JOIN period_offsets AS n ON n.period_no + c.first_no <= $last_no
  WHERE c.first_no >= $first_no
  UNION ALL
  SELECT c.first_no, c.first_channel, b.later_no, c.n_persons
  FROM cohorts AS c
  JOIN back AS b ON b.first_no = c.first_no AND b.first_channel = c.first_channel
  WHERE c.first_no < $first_no OR c.first_no + b.later_no > $last_no
)
SELECT
  p.period_start AS cohort, s.first_channel AS channel, s.later_no AS period, s.n_persons AS persons,
  COALESCE(r.n_active, 0) AS retained, CAST(COALESCE(r.n_active, 0) AS DOUBLE) / s.n_persons AS rate,
  CASE WHEN s.first_no + s.later_no >= $open_no THEN TRUE ELSE FALSE END AS is_open
FROM cells AS s
JOIN periods AS p ON p.period_no = s.first_no
LEFT JOIN back AS r ON r.first_no = s.first_no AND r.first_channel = s.first_channel AND r.later_no = s.later_no
