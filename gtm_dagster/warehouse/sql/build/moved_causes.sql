-- Persons that an id leaves or comes to, and why: of ids that had an owner before, and of users who become or were one person.
WITH moves AS (
  SELECT i.person_no AS old_person, o.person_no AS new_person
  FROM core.identities i
  JOIN owners o ON o.anonymous_no = i.anonymous_no
  WHERE i.person_no <> o.person_no
  UNION
  SELECT coalesce(i.person_no, t.user_no), t.person_no
  FROM moved_users t
  JOIN meta.ids u ON u.id_no = t.user_no
  LEFT JOIN core.identities i ON i.anonymous_no IS NULL AND i.user_id = u.id
  WHERE t.is_changed AND coalesce(i.person_no, t.user_no) <> t.person_no),
withdrawn AS (
  SELECT person_no, any_value(detail) AS detail FROM meta.restatement_causes WHERE cause = $1 GROUP BY 1),
caused AS (
  SELECT m.old_person, m.new_person, w.person_no IS NOT NULL AS is_withdrawn, w.detail
  FROM moves m
  LEFT JOIN withdrawn w ON w.person_no = m.old_person)
SELECT old_person AS person_no, CASE WHEN is_withdrawn THEN $1 ELSE $2 END AS cause, detail FROM caused
UNION
SELECT new_person, CASE WHEN is_withdrawn THEN $1 ELSE $2 END, detail FROM caused
