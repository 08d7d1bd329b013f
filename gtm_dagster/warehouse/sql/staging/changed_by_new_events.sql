-- What identities have to follow of the rows that come.
SELECT NULL AS person_no, u.id_no AS user_no, a.id_no AS anonymous_no, b.event_us
FROM batch b
LEFT JOIN batch_ids u ON u.id = b.user_id
LEFT JOIN batch_ids a ON a.id = b.anonymous_id
WHERE b.verdict = 'accepted'
  AND NOT EXISTS (SELECT 1 FROM losers l WHERE l.file_path = b.file_path AND l.file_row = b.file_row)
