-- The touches of each path, as the statements of credit read them: those of core.touchpoints before a conversion, and before
-- the end of a path that did not convert the touches behind its cut and within the longest lookback, known as they were then.
SELECT k.key_no AS conversion_id, CAST(NULL AS BIGINT) AS session_key, t.touch_us, t.tie_no, t.age_us, t.source_key,
  s.channel_no, s.is_direct, s.is_paid
FROM path_keys k
JOIN core.touchpoints t ON t.conversion_id = k.conversion_id
JOIN touch_sources s ON s.source_key = t.source_key
UNION ALL
SELECT k.key_no, NULL, t.touch_us, t.tie_no, k.moment_us - t.touch_us, s.source_key, s.channel_no, s.is_direct, s.is_paid
FROM path_keys k
JOIN touches t ON t.person_id = k.person_no AND t.touch_us <= k.moment_us AND t.touch_us >= k.moment_us - $longest_us
  AND (k.cut_us IS NULL OR t.touch_us > k.cut_us)
JOIN touch_sources s ON s.source_key = CASE WHEN t.source_us <= k.moment_us THEN t.source_key ELSE 0 END
WHERE k.conversion_id IS NULL
