-- The rows of core.identities for users who are one person with another; written again when any of them changed.
SELECT NULL AS anonymous_id, u.id AS user_id, p.id AS person_id, NULL AS first_seen_at, NULL AS anonymous_no, m.person_no
FROM meta.user_persons m
JOIN meta.ids u ON u.id_no = m.user_no
JOIN meta.ids p ON p.id_no = m.person_no
WHERE $whole OR EXISTS (SELECT 1 FROM moved_users WHERE is_changed)
