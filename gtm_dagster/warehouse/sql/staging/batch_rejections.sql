-- Each import by itself, and of the log the newest ingest day that has enough rows: rows, and those that are quarantined.
-- A quarantined row keeps the key of the file it landed in, also when that was compacted.
WITH files AS (
  SELECT ingest_date, rows, split_part(file_key, '/', 2) AS name, starts_with(split_part(file_key, '/', 2), 'log-') AS of_log
  FROM meta.landing_files),
log_days AS (
  SELECT ingest_date FROM files WHERE of_log GROUP BY 1 HAVING sum(rows) >= $least ORDER BY 1 DESC LIMIT 1),
judged AS (
  SELECT CASE WHEN of_log THEN 'the log on ' || ingest_date ELSE name END AS batch, sum(rows)::BIGINT AS n_rows
  FROM files
  WHERE NOT of_log OR ingest_date IN (SELECT ingest_date FROM log_days)
  GROUP BY 1
  HAVING sum(rows) >= $least),
bad AS (
  SELECT CASE WHEN starts_with(split_part(file_key, '/', 2), 'log-') THEN 'the log on ' || split_part(file_key, '/', 1) ELSE split_part(file_key, '/', 2) END AS batch,
    count(*) AS n, list(DISTINCT file_key) AS file_keys
  FROM staging.quarantine
  GROUP BY 1)
SELECT batch, j.n_rows, coalesce(b.n, 0)::BIGINT AS quarantined, coalesce(b.file_keys, []) AS file_keys
FROM judged j
LEFT JOIN bad b USING (batch)
ORDER BY 1
