-- Rows of the batch by ingest day.
SELECT ingest_date, sum(n)::BIGINT AS n, coalesce(sum(n) FILTER (verdict = 'suppressed'), 0)::BIGINT AS suppressed
FROM batch_days
GROUP BY 1
