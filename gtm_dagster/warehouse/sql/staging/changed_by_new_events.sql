-- What identities have to follow of the rows that come.
SELECT NULL AS person_no, u.id_no AS user_no, a.id_no AS anonymous_no, b.event_us
FROM (SELECT * FROM batch ANTI JOIN losers USING (file_path, file_row) WHERE verdict = 'accepted') b
LEFT JOIN batch_ids u ON u.id = b.user_id
LEFT JOIN batch_ids a ON a.id = b.anonymous_id
