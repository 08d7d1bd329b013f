-- The accepted rows whose id occurs more than once in the batch, and which of them wins: the copy received first, ties by
-- event time and content. Only ids whose 64-bit hash occurs twice can be duplicates (repeated_hashes); the exact comparison
-- is paid for them alone, and the content is not opened when there are none. compared_hash has the time by the clock of the
-- sender where the collector moved it.
WITH ranked AS (
  SELECT write_key, event_id, received_us, event_us, hash($content) AS content_hash, hash($compared) AS compared_hash,
    file_path, file_row, count(*) OVER (PARTITION BY write_key, event_id) AS n_copies,
    row_number() OVER (PARTITION BY write_key, event_id ORDER BY received_us, event_us, hash($content), bot_reason NULLS FIRST, file_path, file_row) AS place
  FROM batch
  WHERE verdict = 'accepted' AND $any_repeated AND hash(write_key, event_id) IN (SELECT id_hash FROM repeated_hashes))
SELECT * EXCLUDE (n_copies, place), place = 1 AS wins
FROM ranked
WHERE n_copies > 1
