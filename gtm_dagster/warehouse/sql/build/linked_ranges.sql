-- Moments of other conversions that the changed events decide about: of one payment with a changed event, and of a type
-- that counts a person's first alone every moment of that person. One range a person.
WITH same_payment AS (
  SELECT c.conversion_type, c.person_no, c.event_us
  FROM meta.conversion_events c
  SEMI JOIN (SELECT conversion_type, payment FROM changed_conversions WHERE payment IS NOT NULL) d
    ON d.conversion_type = c.conversion_type AND d.payment = c.payment),
persons AS (
  SELECT conversion_type, person_no FROM same_payment
  UNION
  SELECT conversion_type, person_no FROM changed_conversions),
same_person AS (
  SELECT c.person_no, c.event_us
  FROM meta.conversion_events c
  SEMI JOIN (SELECT p.* FROM persons p JOIN conversion_types t ON t.conversion_type = p.conversion_type AND t.only_first) d
    ON d.conversion_type = c.conversion_type AND d.person_no = c.person_no),
moments AS (
  SELECT person_no, event_us FROM same_payment
  UNION ALL
  SELECT person_no, event_us FROM same_person)
SELECT m.person_no, min(m.event_us) AS lo_us, max(m.event_us) AS hi_us
FROM moments m
LEFT JOIN affected r ON r.person_no = m.person_no AND m.event_us BETWEEN r.lo_us AND r.hi_us
WHERE r.person_no IS NULL
GROUP BY m.person_no
