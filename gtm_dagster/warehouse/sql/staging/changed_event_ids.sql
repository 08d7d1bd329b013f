-- Ids of rows received on the days of changed files that more than one row of the table has.
WITH fresh AS (
  SELECT DISTINCT write_key, event_id
  FROM meta.events
  WHERE received_us >= (SELECT epoch_us(CAST(min(ingest_date) AS TIMESTAMP)) FROM changed_files)
    AND received_us < (SELECT epoch_us(CAST(max(ingest_date) + 1 AS TIMESTAMP)) FROM changed_files)
    AND CAST(make_timestamp(received_us) AS DATE) IN (SELECT ingest_date FROM changed_files))
SELECT count(*) FROM (
  SELECT 1 FROM meta.events SEMI JOIN fresh USING (write_key, event_id) GROUP BY write_key, event_id HAVING count(*) > 1)
