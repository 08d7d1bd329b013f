-- Persons whose rows of core.identities are written again; no time of theirs is replaced yet.
SELECT person_no, NULL AS lo_us, NULL AS hi_us FROM owners
UNION
SELECT person_no, NULL, NULL FROM core.identities WHERE anonymous_no IN (SELECT anonymous_no FROM due)
UNION
SELECT person_no, NULL, NULL FROM core.identities WHERE anonymous_no IS NULL AND EXISTS (SELECT 1 FROM moved_users WHERE is_changed)
UNION
SELECT person_no, NULL, NULL FROM moved_users WHERE is_changed
