-- The events those rows are copies of, read for them alone.
SELECT rowid AS event_row, received_us, person_no, user_no, anonymous_no, bot_reason, $content
FROM meta.events
WHERE rowid IN (SELECT event_row FROM known_rows)
