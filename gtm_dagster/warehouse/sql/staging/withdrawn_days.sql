-- Rows that leave the books with a withdrawn batch, as negative numbers.
SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date, -count(*) AS n, -count(*) FILTER (verdict = 'suppressed') AS suppressed
FROM landed
GROUP BY 1
