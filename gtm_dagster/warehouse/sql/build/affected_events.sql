-- The browsing events of the affected ranges, narrow, persons as numbers.
SELECT e.person_no AS person_id, e.event_us, e.session_id, e.source_key, e.touch_rank,
  CAST(e.local_day - DATE '1970-01-01' AS INTEGER) AS day_no, e.rowid AS event_row, $arrival AS arrival
FROM meta.events e $sources
JOIN affected r ON $within
WHERE e.browsing
