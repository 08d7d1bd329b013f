-- Per conversion type the persons of a month without a conversion of it in that month. Their path ends with the month's last
-- session and begins behind the conversion of that type before it (cut_us), where there is one.
SELECT v.person_no, v.month, v.end_us AS moment_us, t.conversion_type, max(c.conversion_us) AS cut_us
FROM path_visits v
CROSS JOIN path_types t
LEFT JOIN core.conversions c ON c.person_no = v.person_no AND c.conversion_type = t.conversion_type AND c.conversion_us <= v.end_us
WHERE NOT EXISTS (
  SELECT 1 FROM core.conversions d
  WHERE d.person_no = v.person_no AND d.conversion_type = t.conversion_type AND date_trunc('month', d.day) = v.month)
GROUP BY ALL
