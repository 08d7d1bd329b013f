-- The rows of core.identities for the owners found.
SELECT a.id AS anonymous_id, u.id AS user_id, p.id AS person_id, make_timestamp(o.first_us) AS first_seen_at,
  o.anonymous_no, o.person_no
FROM owners o
JOIN meta.ids a ON a.id_no = o.anonymous_no
JOIN meta.ids p ON p.id_no = o.person_no
LEFT JOIN meta.ids u ON u.id_no = o.user_no
