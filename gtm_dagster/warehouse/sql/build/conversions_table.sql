-- The rows of core.conversions for the events that are of a conversion type.
SELECT e.write_key || ':' || e.event_id AS conversion_id, p.id AS person_id, make_timestamp(e.event_us) AS conversion_time,
  e.event_name AS conversion_type,
  TRY_CAST(CASE WHEN t.value_path IS NOT NULL THEN json_extract_string(e.properties, t.value_path) END AS DOUBLE) AS value,
  CASE WHEN t.currency_path IS NOT NULL THEN json_extract_string(e.properties, t.currency_path) END AS currency,
  e.local_day AS day, e.event_us AS conversion_us, e.person_no
FROM meta.events e
JOIN meta.ids p ON p.id_no = e.person_no
JOIN conversion_types t ON t.event_name = e.event_name
$among
