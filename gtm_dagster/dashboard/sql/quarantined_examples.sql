-- The newest quarantined row of each event and set of reasons in the period; personal values are masked.
WITH numbered AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY event_name, reason_codes ORDER BY received_us DESC, file_key, row_no) AS place,
    COUNT(*) OVER (PARTITION BY event_name, reason_codes) AS alike
  FROM staging.quarantine
  WHERE CAST(received_at AS DATE) BETWEEN $from AND $to
)
SELECT event_name, reason_codes, alike, received_at, write_key, event_id, errors, raw
FROM numbered
WHERE place = 1
ORDER BY alike DESC, event_name, reason_codes
LIMIT 20
