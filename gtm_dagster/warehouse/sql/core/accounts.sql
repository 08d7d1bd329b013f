-- The stretches of time for which each person belongs to an account: from the event that names another account than the one
-- before to the next such event; the first stretch has no beginning, the last no end. account_moments has one row a person
-- and moment, by the last event of the moment that names an account.
WITH named AS (
  SELECT
    person_id, account_id, event_us, day_no,
    LAG(account_id) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS account_before
  FROM account_moments
), changes AS (
  SELECT
    person_id, account_id, event_us, day_no,
    LAG(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS change_before,
    LEAD(event_us) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS change_after,
    LEAD(day_no) OVER (PARTITION BY person_id ORDER BY event_us NULLS FIRST) AS day_after
  FROM named
  WHERE account_before IS NULL OR account_before <> account_id
)
SELECT
  person_id, account_id, event_us AS named_us, CASE WHEN change_before IS NOT NULL THEN event_us END AS from_us,
  change_after AS until_us, CASE WHEN change_before IS NOT NULL THEN day_no END AS from_day_no, day_after AS until_day_no
FROM changes
