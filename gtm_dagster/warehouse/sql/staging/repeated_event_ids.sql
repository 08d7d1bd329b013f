-- Ids that more than one row has. Only ids whose 64-bit hash occurs twice can; the exact comparison is paid for them alone.
WITH twice AS (
  SELECT hash(write_key, event_id) AS id_hash FROM meta.events GROUP BY 1 HAVING count(*) > 1)
SELECT count(*) FROM (
  SELECT 1 FROM meta.events WHERE hash(write_key, event_id) IN (SELECT id_hash FROM twice)
  GROUP BY write_key, event_id HAVING count(*) > 1)
