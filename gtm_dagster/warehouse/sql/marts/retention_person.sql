-- The periods in which each person of activity was active: the number of the first one, and how many later.
-- calendar gives each local day the number of its period.
WITH active AS (
  SELECT DISTINCT a.person_id, k.period_no
  FROM activity AS a
  JOIN calendar AS k ON k.local_day = a.local_day
), born AS (
  SELECT person_id, MIN(period_no) AS born_no
  FROM active
  GROUP BY person_id
)
SELECT a.person_id, b.born_no AS first_no, a.period_no - b.born_no AS later_no, COALESCE(o.channel, '(none)') AS first_channel
FROM active AS a
JOIN born AS b ON b.person_id = a.person_id
LEFT JOIN person_origin AS o ON o.person_id = a.person_id
