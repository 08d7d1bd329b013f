-- Every browsing event, narrow, persons as numbers; ids of events on touches alone, where their order can matter.
SELECT e.person_no AS person_id, e.event_us, e.session_id, e.source_key, e.touch_rank,
  CAST(e.local_day - DATE '1970-01-01' AS INTEGER) AS day_no,
  CASE WHEN e.touch_rank IS NOT NULL THEN e.event_id END AS event_id,
  CASE WHEN e.touch_rank IS NOT NULL THEN e.write_key END AS write_key
FROM meta.events e
WHERE e.browsing
