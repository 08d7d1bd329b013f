-- Events of the affected anonymous ids that change owner.
SELECT e.event_row, e.person_no AS old_person, o.person_no AS new_person, e.event_us
FROM due_events e
JOIN owners o ON o.anonymous_no = e.anonymous_no
WHERE e.user_no IS NULL AND e.person_no <> o.person_no
