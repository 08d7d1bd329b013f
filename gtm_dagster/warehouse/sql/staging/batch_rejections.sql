-- Each import by itself, and of the log the newest ingest day that has enough rows: rows, and those that are quarantined.
WITH files AS (
  SELECT file_key, ingest_date, rows, split_part(file_key, '/', 2) AS name, starts_with(split_part(file_key, '/', 2), 'log-') AS of_log
  FROM meta.landing_files),
log_days AS (
  SELECT ingest_date FROM files WHERE of_log GROUP BY 1 HAVING sum(rows) >= $least ORDER BY 1 DESC LIMIT 1),
judged AS (
  SELECT file_key, rows, CASE WHEN of_log THEN 'the log on ' || ingest_date ELSE name END AS batch
  FROM files
  WHERE NOT of_log OR ingest_date IN (SELECT ingest_date FROM log_days)),
bad AS (
  SELECT file_key, count(*) AS n FROM staging.quarantine GROUP BY 1)
SELECT j.batch, sum(j.rows)::BIGINT AS n_rows, coalesce(sum(b.n), 0)::BIGINT AS quarantined, list(j.file_key) AS file_keys
FROM judged j
LEFT JOIN bad b USING (file_key)
GROUP BY 1
HAVING sum(j.rows) >= $least
ORDER BY 1
