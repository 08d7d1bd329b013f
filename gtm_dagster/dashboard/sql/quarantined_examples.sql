-- The newest quarantined row of each group in the period: one event, refused for the same reasons at the same fields. Beside it the rows of the last 7 days of the period and of the 7 before. Personal values are masked.
WITH shaped AS (
  SELECT
    *,
    CAST(received_at AS DATE) AS day,
    coalesce(nullif(array_to_string(list_sort(list_distinct([
      error.code || rtrim(' ' || coalesce(error.path, ''))
      FOR error IN CASE WHEN json_valid(errors) THEN from_json(errors, '[{"path": "VARCHAR", "code": "VARCHAR"}]') END
    ])), ', '), ''), reason_codes) AS shape
  FROM staging.quarantine
  WHERE CAST(received_at AS DATE) BETWEEN least($from, $to - 13) AND $to
), numbered AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY event_name, shape ORDER BY received_us DESC, file_key, row_no) AS place,
    COUNT(CASE WHEN day >= $from THEN 1 END) OVER (PARTITION BY event_name, shape) AS alike,
    COUNT(CASE WHEN day > $to - 7 THEN 1 END) OVER (PARTITION BY event_name, shape) AS last_7_days,
    COUNT(CASE WHEN day BETWEEN $to - 13 AND $to - 7 THEN 1 END) OVER (PARTITION BY event_name, shape) AS week_before
  FROM shaped
)
SELECT event_name, reason_codes, shape, alike, last_7_days, week_before, received_at, write_key, event_id, errors, raw
FROM numbered
WHERE place = 1 AND alike > 0
ORDER BY alike DESC, event_name, shape
LIMIT 20
