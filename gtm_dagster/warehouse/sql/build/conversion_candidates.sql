-- The rows of meta.conversion_events that decide about conversions in the affected ranges: those there, of types that count
-- a person's first alone all of these persons, and every event of the payments among them.
WITH wanted AS (
  SELECT c.*, c.rowid AS event_row
  FROM meta.conversion_events c
  JOIN affected r ON $within),
same_person AS (
  SELECT c.*, c.rowid AS event_row
  FROM meta.conversion_events c
  SEMI JOIN (SELECT DISTINCT w.conversion_type, w.person_no FROM wanted w JOIN conversion_types t ON t.conversion_type = w.conversion_type AND t.only_first) d
    ON d.conversion_type = c.conversion_type AND d.person_no = c.person_no),
deciding AS (
  SELECT * FROM wanted
  UNION
  SELECT * FROM same_person),
same_payment AS (
  SELECT c.*, c.rowid AS event_row
  FROM meta.conversion_events c
  SEMI JOIN (SELECT conversion_type, payment FROM deciding WHERE payment IS NOT NULL) d
    ON d.conversion_type = c.conversion_type AND d.payment = c.payment)
SELECT * EXCLUDE (event_row) FROM (SELECT * FROM deciding UNION SELECT * FROM same_payment)
