-- Accepted rows of the batch whose id meta.events holds already; of repeated ids the winner alone.
SELECT b.file_path, b.file_row, e.rowid AS event_row
FROM (SELECT * FROM batch $but_losers WHERE verdict = 'accepted') b
JOIN meta.events e ON b.write_key = e.write_key AND b.event_id = e.event_id
