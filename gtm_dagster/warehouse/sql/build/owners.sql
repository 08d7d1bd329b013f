-- The owner of each anonymous id: the user it was first seen with, else the one an alias gives it to. Ids of events are
-- read only where two users share the first named moment.
WITH tie_broken AS (
  SELECT e.anonymous_no, e.user_no
  FROM meta.events e
  JOIN named n ON n.disputed AND n.anonymous_no = e.anonymous_no AND n.named_us = e.event_us
  WHERE e.user_no IS NOT NULL
  QUALIFY row_number() OVER (PARTITION BY e.anonymous_no ORDER BY e.event_id, e.write_key) = 1),
owned AS (
  SELECT s.anonymous_no, coalesce(t.user_no, n.user_no, c.user_no) AS user_no, s.first_us
  FROM seen s
  LEFT JOIN named n USING (anonymous_no)
  LEFT JOIN tie_broken t USING (anonymous_no)
  LEFT JOIN meta.claimed_ids c USING (anonymous_no))
SELECT o.anonymous_no, o.user_no, coalesce(m.person_no, o.user_no, o.anonymous_no) AS person_no, o.first_us
FROM owned o
LEFT JOIN meta.user_persons m ON m.user_no = o.user_no
