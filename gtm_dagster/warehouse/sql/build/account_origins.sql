-- The source and day of each account's first session: the earliest of the first sessions of its persons.
SELECT a.account_id, o.source, o.medium, o.campaign, o.channel, o.first_day
FROM (SELECT DISTINCT account_id, person_id, person_no FROM core.accounts) a
JOIN meta.person_origin o ON o.person_no = a.person_no
QUALIFY row_number() OVER (PARTITION BY a.account_id ORDER BY o.start_us, a.person_id) = 1
