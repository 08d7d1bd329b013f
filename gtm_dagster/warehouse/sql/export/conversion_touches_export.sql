-- What credit is computed from.
SELECT
  conversion_id, session_key, touch_us, tie_no, age_us, source_key, CASE WHEN channel = 'Direct' THEN 1 ELSE 0 END AS is_direct
FROM touchpoints
