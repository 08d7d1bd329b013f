-- Rows that go as duplicates, by the ingest day of the copy that goes.
WITH lost AS (
  SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date FROM copies WHERE NOT wins
  UNION ALL
  SELECT CAST(make_timestamp(CASE WHEN newer_wins THEN old_us ELSE new_us END) AS DATE) FROM duplicates_of_events)
SELECT ingest_date, count(*) AS n
FROM lost
GROUP BY 1
