-- Ingest days whose books change.
SELECT DISTINCT CAST(make_timestamp(received_us) AS DATE) AS ingest_date FROM batch
UNION
SELECT CAST(make_timestamp(old_us) AS DATE) FROM duplicates_of_events WHERE newer_wins
