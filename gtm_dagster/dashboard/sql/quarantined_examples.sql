-- The newest quarantined row of each group in the period: one event, refused for the same reasons at the same fields. Beside it the rows of the last 7 days of the period and of the 7 before. Personal values are masked.
WITH refused AS (
  SELECT *, CAST(received_at AS DATE) AS day
  FROM staging.quarantine
  WHERE CAST(received_at AS DATE) BETWEEN least($from, $to - 13) AND $to
), shapes AS (
  SELECT errors, reason_codes, $shape AS shape
  FROM (SELECT DISTINCT errors, reason_codes FROM refused)
), alike AS (
  SELECT
    event_name,
    shape,
    any_value(refused.reason_codes) AS reason_codes,
    COUNT(CASE WHEN day >= $from THEN 1 END) AS alike,
    COUNT(CASE WHEN day > $to - 7 THEN 1 END) AS last_7_days,
    COUNT(CASE WHEN day BETWEEN $to - 13 AND $to - 7 THEN 1 END) AS week_before,
    arg_min(
      {'received_at': received_at, 'write_key': write_key, 'event_id': event_id, 'errors': refused.errors, 'raw': raw},
      {'age': -received_us, 'file_key': file_key, 'row_no': row_no}
    ) AS newest
  FROM refused
  JOIN shapes
    ON refused.errors IS NOT DISTINCT FROM shapes.errors AND refused.reason_codes IS NOT DISTINCT FROM shapes.reason_codes
  GROUP BY event_name, shape
)
SELECT
  event_name, reason_codes, shape, alike, last_7_days, week_before, newest.received_at, newest.write_key, newest.event_id,
  newest.errors, newest.raw
FROM alike
WHERE alike > 0
ORDER BY alike DESC, event_name, shape
LIMIT 20
