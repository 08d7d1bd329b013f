-- Persons whose rows of core.identities are written again; no time of theirs is replaced yet.
SELECT person_no, NULL AS lo_us, NULL AS hi_us FROM owners
UNION
SELECT person_no, NULL, NULL FROM core.identities WHERE anonymous_no IN (SELECT anonymous_no FROM due)
