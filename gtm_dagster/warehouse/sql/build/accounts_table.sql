-- The rows of core.accounts for the stretches found.
SELECT p.id AS person_id, a.account_id, make_timestamp(a.named_us) AS named_at, a.from_us, a.until_us,
  DATE '1970-01-01' + a.from_day_no AS from_day, DATE '1970-01-01' + a.until_day_no AS until_day, a.person_id AS person_no
FROM ($stretches) a
JOIN meta.ids p ON p.id_no = a.person_id
