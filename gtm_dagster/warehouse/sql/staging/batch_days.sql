-- Rows of the batch by ingest day and verdict.
SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date, verdict, count(*) AS n
FROM batch
GROUP BY 1, 2
