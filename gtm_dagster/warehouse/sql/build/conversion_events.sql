-- The rows of meta.conversion_events: events that can be a conversion, and refunds. A value is a finite number, also one in a
-- text as JSON writes it. A payment id that is a word for nothing (undefined, null) names no payment.
WITH sent AS (
  SELECT t.conversion_type, t.is_refund, e.write_key, e.event_id, e.event_us, e.local_day, e.person_no,
    CASE WHEN t.payment_path IS NOT NULL THEN json_extract_string(e.properties, t.payment_path) END AS payment,
    CASE WHEN t.value_path IS NOT NULL THEN json_extract_string(e.properties, t.value_path) END AS value_text,
    CASE WHEN t.currency_path IS NOT NULL THEN json_extract_string(e.properties, t.currency_path) END AS currency
  FROM meta.events e
  JOIN conversion_types t ON t.event_name = e.event_name
  $among
  WHERE t.is_refund OR $matches),
events AS (
  SELECT * REPLACE (CASE WHEN lower(trim(payment, $blanks)) NOT IN ($absent) THEN payment END AS payment)
  FROM sent),
numbers AS (
  SELECT *,
    CASE WHEN regexp_full_match(value_text, '-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?') THEN TRY_CAST(value_text AS DOUBLE) END AS number
  FROM events)
SELECT conversion_type, is_refund, payment, write_key, event_id, event_us, local_day, person_no,
  CASE WHEN isfinite(number) THEN number END AS amount,
  value_text IS NOT NULL AND NOT coalesce(isfinite(number), false) AS is_no_number, currency
FROM numbers
WHERE NOT is_refund OR payment IS NOT NULL
