-- The newest 50 quarantined rows of each group that was refused for the type of a value, for what is suggested. Personal values are masked.
WITH refused AS (
  SELECT *
  FROM staging.quarantine
  WHERE CAST(received_at AS DATE) BETWEEN $from AND $to AND list_contains(string_split(reason_codes, ','), 'type')
), shapes AS (
  SELECT errors, reason_codes, $shape AS shape
  FROM (SELECT DISTINCT errors, reason_codes FROM refused)
)
SELECT event_name, shape, arg_max(raw, received_us, 50) AS newest
FROM refused
JOIN shapes
  ON refused.errors IS NOT DISTINCT FROM shapes.errors AND refused.reason_codes IS NOT DISTINCT FROM shapes.reason_codes
GROUP BY event_name, shape
ORDER BY COUNT(*) DESC, event_name, shape
LIMIT 100
