-- Ingest days whose books change.
SELECT ingest_date FROM batch_days
UNION
SELECT CAST(make_timestamp(old_us) AS DATE) FROM duplicates_of_events WHERE newer_wins
