-- The rows of meta.person_paths: conversions with their path, without one where no touch counts; and the paths that did not
-- convert.
WITH walked AS (
  SELECT t.path_no, t.conversion_id AS key_no, string_agg(n.channel, ' > ' ORDER BY t.back_no DESC) AS path, count(*) AS touches
  FROM path_touches t
  JOIN channels n ON n.channel_no = t.channel_no
  WHERE t.back_no <= $most_touches
  GROUP BY ALL)
SELECT c.person_no, c.conversion_us AS moment_us, CAST(date_trunc('month', c.day) AS DATE) AS month, c.conversion_type, c.currency,
  w.model, w.window_hours, p.path, coalesce(p.touches, 0) AS touches, 1 AS conversions, c.value, 0 AS nulls
FROM converted c
JOIN path_keys k ON k.person_no = c.person_no AND k.moment_us = c.conversion_us AND k.cut_us IS NULL
CROSS JOIN windows w
LEFT JOIN walked p ON p.key_no = k.key_no AND p.path_no = w.path_no
UNION ALL
SELECT n.person_no, n.moment_us, n.month, n.conversion_type, NULL, w.model, w.window_hours, p.path, p.touches, 0, NULL, 1
FROM path_nulls n
JOIN path_keys k ON k.person_no = n.person_no AND k.moment_us = n.moment_us AND k.cut_us IS NOT DISTINCT FROM n.cut_us
JOIN walked p ON p.key_no = k.key_no
JOIN windows w ON w.path_no = p.path_no
