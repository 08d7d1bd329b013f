-- Why rows were quarantined, by the day they were received (UTC): a row counts for each of its reasons.
WITH reasons AS (
  SELECT unnest(string_split(reason_codes, ',')) AS reason, event_name, write_key, CAST(received_at AS DATE) AS day
  FROM staging.quarantine
  WHERE CAST(received_at AS DATE) BETWEEN coalesce($before_from, $from) AND $to
)
SELECT
  reason,
  COUNT(CASE WHEN day >= $from THEN 1 END) AS quarantined,
  CASE WHEN $before_from IS NOT NULL THEN COUNT(CASE WHEN day < $from THEN 1 END) END AS quarantined_before,
  MAX(day) AS newest_day,
  array_to_string(list_sort(list(DISTINCT event_name) FILTER (event_name IS NOT NULL))[1:4], ', ') AS events,
  array_to_string(list_sort(list(DISTINCT write_key))[1:4], ', ') AS senders
FROM reasons
GROUP BY reason
ORDER BY quarantined DESC, reason
