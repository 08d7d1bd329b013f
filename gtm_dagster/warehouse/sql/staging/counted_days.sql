-- The books of the touched days, each figure from the table it speaks of: raw and suppressed from the rows read, clean and
-- quarantined from what the tables hold, duplicates from the deduplication's own ledger, log_rows from the manifests.
WITH clean AS (
  SELECT CAST(make_timestamp(received_us) AS DATE) AS ingest_date, count(*) AS n, count(bot_reason) AS bots
  FROM meta.events
  WHERE CAST(make_timestamp(received_us) AS DATE) BETWEEN (SELECT min(ingest_date) FROM touched_days) AND (SELECT max(ingest_date) FROM touched_days)
  GROUP BY 1),
bad AS (
  SELECT CAST(received_at AS DATE) AS ingest_date, count(*) AS n FROM staging.quarantine GROUP BY 1),
dup AS (
  SELECT ingest_date, sum(n) AS n FROM meta.duplicates GROUP BY 1),
landed AS (
  SELECT ingest_date, sum(rows) AS n FROM meta.landing_files GROUP BY 1),
taken_back AS (
  SELECT ingest_date, sum(rows) AS n FROM meta.withdrawals GROUP BY 1)
SELECT t.ingest_date, coalesce(landed.n, 0)::BIGINT AS log_rows, (coalesce(k.raw, 0) + coalesce(r.n, 0))::BIGINT AS raw,
  coalesce(clean.n, 0)::BIGINT AS clean, coalesce(dup.n, 0)::BIGINT AS duplicates, coalesce(bad.n, 0)::BIGINT AS quarantined,
  (coalesce(k.suppressed, 0) + coalesce(r.suppressed, 0))::BIGINT AS suppressed,
  coalesce(taken_back.n, 0)::BIGINT AS withdrawn, coalesce(clean.bots, 0)::BIGINT AS bots
FROM (SELECT DISTINCT ingest_date FROM touched_days) t
LEFT JOIN staging.books k USING (ingest_date)
LEFT JOIN read_days r USING (ingest_date)
LEFT JOIN clean USING (ingest_date)
LEFT JOIN bad USING (ingest_date)
LEFT JOIN dup USING (ingest_date)
LEFT JOIN landed USING (ingest_date)
LEFT JOIN taken_back USING (ingest_date)
