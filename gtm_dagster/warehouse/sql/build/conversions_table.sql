-- The rows of core.conversions for the events that are of a conversion type. The write key's colons are escaped, so that no
-- two events share a conversion_id. A value is a finite number, also one in a text as JSON writes it.
WITH events AS (
  SELECT e.write_key, e.event_id, e.event_name, e.event_us, e.local_day, e.person_no,
    CASE WHEN t.value_path IS NOT NULL THEN json_extract_string(e.properties, t.value_path) END AS value_text,
    CASE WHEN t.currency_path IS NOT NULL THEN json_extract_string(e.properties, t.currency_path) END AS currency
  FROM meta.events e
  JOIN conversion_types t ON t.event_name = e.event_name
  $among),
numbers AS (
  SELECT *,
    CASE WHEN regexp_full_match(value_text, '-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?') THEN TRY_CAST(value_text AS DOUBLE) END AS number
  FROM events)
SELECT replace(replace(n.write_key, '\', '\\'), ':', '\:') || ':' || n.event_id AS conversion_id, p.id AS person_id,
  make_timestamp(n.event_us) AS conversion_time, n.event_name AS conversion_type,
  CASE WHEN isfinite(n.number) THEN n.number END AS value, n.currency, n.local_day AS day, n.event_us AS conversion_us,
  n.value_text IS NOT NULL AND NOT coalesce(isfinite(n.number), false) AS value_is_no_number, n.person_no
FROM numbers n
JOIN meta.ids p ON p.id_no = n.person_no
