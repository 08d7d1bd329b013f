-- Every landed row by ingest day (UTC): clean, a duplicate, quarantined or suppressed. The books balance when these add up to
-- the rows read; a row of a withdrawn import is in none of them.
SELECT
  ingest_date AS day,
  raw AS rows_read,
  clean,
  duplicates,
  quarantined,
  suppressed,
  withdrawn,
  bots,
  quarantined * 1.0e0 / nullif(raw, 0) AS quarantined_share,
  raw = clean + duplicates + quarantined + suppressed AS balances
FROM staging.books
WHERE ingest_date BETWEEN $from AND $to
ORDER BY 1
