-- The time in which each person's events changed, came or went.
WITH changes AS (
  SELECT coalesce(c.person_no, c.user_no, o.person_no, c.anonymous_no) AS person_no, c.event_us
  FROM meta.changed c
  LEFT JOIN core.identities o ON o.anonymous_no = c.anonymous_no
  UNION ALL
  SELECT old_person, event_us FROM moved
  UNION ALL
  SELECT new_person, event_us FROM moved)
SELECT person_no, min(event_us) AS lo_us, max(event_us) AS hi_us
FROM changes
GROUP BY person_no
