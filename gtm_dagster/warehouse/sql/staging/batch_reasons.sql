-- Reasons of the quarantined rows of some files: by code and field, with one message of each.
WITH reasons AS (
  SELECT unnest(from_json(errors, '[{"path": "VARCHAR", "code": "VARCHAR", "message": "VARCHAR"}]')) AS reason
  FROM staging.quarantine
  WHERE list_contains($file_keys::VARCHAR[], file_key) AND json_valid(errors))
SELECT reason.code, reason.path, count(*) AS n, min(reason.message) AS message
FROM reasons
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
LIMIT 3
