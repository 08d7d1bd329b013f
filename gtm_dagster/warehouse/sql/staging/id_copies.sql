-- The accepted rows of landed files that have an id of a withdrawn batch. What the contract refused is in the quarantine.
SELECT l.*, $withdrawn AS withdrawn
FROM landed l
SEMI JOIN withdrawn_ids USING (write_key, event_id)
WHERE l.verdict = 'accepted'
  AND NOT EXISTS (
    SELECT 1 FROM staging.quarantine q
    JOIN batch_files k ON k.file_key = q.file_key
    WHERE k.file_path = l.file_path AND k.batch_name IS NOT DISTINCT FROM l.batch_name AND q.row_no = l.row_no AND q.write_key = l.write_key AND q.event_id = l.event_id)
