-- The persons of a month without a conversion in it, for each type; conversion_type is NULL for those without any, ever. Their
-- path ends with the month's last session and begins behind the conversion of that type before it (cut_us), where there is one.
SELECT v.person_no, v.month, v.end_us AS moment_us, CAST(NULL AS VARCHAR) AS conversion_type, CAST(NULL AS BIGINT) AS cut_us
FROM path_visits v
ANTI JOIN core.conversions c ON c.person_no = v.person_no
UNION ALL
SELECT v.person_no, v.month, v.end_us, t.conversion_type, max(c.conversion_us)
FROM (SELECT * FROM path_visits SEMI JOIN core.conversions USING (person_no)) v
CROSS JOIN path_types t
LEFT JOIN core.conversions c ON c.person_no = v.person_no AND c.conversion_type = t.conversion_type AND c.conversion_us <= v.end_us
WHERE NOT EXISTS (
  SELECT 1 FROM core.conversions d
  WHERE d.person_no = v.person_no AND d.conversion_type = t.conversion_type AND date_trunc('month', d.day) = v.month)
GROUP BY ALL
