-- The paths to walk, numbered: one to each conversion, and those that did not convert.
SELECT row_number() OVER () AS key_no, *
FROM (
  SELECT c.conversion_id, c.person_no, c.conversion_us AS moment_us, CAST(date_trunc('month', c.day) AS DATE) AS month, c.conversion_type,
    c.currency, c.value, CAST(NULL AS BIGINT) AS cut_us
  FROM core.conversions c
  $reached
  UNION ALL
  SELECT NULL, n.person_no, n.moment_us, n.month, n.conversion_type, NULL, NULL, n.cut_us
  FROM ($nulls) n)
