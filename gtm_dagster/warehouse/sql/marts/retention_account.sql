-- The periods in which each account was active through a person who belonged to it at the end of that period: the number of
-- the first one, and how many later. account_periods has the stretches of core.accounts by period; accounts stand in person_id.
WITH active AS (
  SELECT DISTINCT a.account_id, r.first_no + r.later_no AS active_no
  FROM retained_persons AS r
  JOIN account_periods AS a ON a.person_id = r.person_id
  WHERE (a.from_no IS NULL OR a.from_no <= r.first_no + r.later_no)
    AND (a.until_no IS NULL OR a.until_no > r.first_no + r.later_no)
), born AS (
  SELECT account_id, MIN(active_no) AS born_no
  FROM active
  GROUP BY account_id
)
SELECT a.account_id AS person_id, b.born_no AS first_no, a.active_no - b.born_no AS later_no, COALESCE(o.channel, '(none)') AS first_channel
FROM active AS a
JOIN born AS b ON b.account_id = a.account_id
LEFT JOIN account_origin AS o ON o.account_id = a.account_id
