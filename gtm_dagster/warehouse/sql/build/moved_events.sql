-- Events whose person changes: those of the affected anonymous ids, and those of users who become or were one person.
SELECT e.event_row, e.person_no AS old_person, o.person_no AS new_person, e.event_us
FROM due_events e
JOIN owners o ON o.anonymous_no = e.anonymous_no
WHERE e.user_no IS NULL AND e.person_no <> o.person_no
UNION ALL
SELECT e.rowid, e.person_no, t.person_no, e.event_us
FROM meta.events e
JOIN moved_users t ON t.user_no = e.user_no
WHERE e.person_no <> t.person_no
