-- Hashes that the ids of more than one accepted row of the batch have.
SELECT hash(write_key, event_id) AS id_hash FROM batch WHERE verdict = 'accepted' GROUP BY 1 HAVING count(*) > 1
