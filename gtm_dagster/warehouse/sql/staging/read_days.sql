-- Rows of the batch by ingest day.
SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date, count(*) AS n, count(*) FILTER (verdict = 'suppressed') AS suppressed
FROM batch
GROUP BY 1
