-- Rows of the batch that the contract or their writer refused.
SELECT b.write_key, b.event_id, b.event_name, b.reason_codes, b.errors, b.raw, make_timestamp(b.received_us) AS received_at,
  b.received_us, b.plan_version, b.origin, k.file_key, b.row_no, b.bot_reason
FROM batch b
JOIN batch_files k ON k.file_path = b.file_path AND k.batch_name IS NOT DISTINCT FROM b.batch_name
WHERE b.verdict = 'quarantined'
