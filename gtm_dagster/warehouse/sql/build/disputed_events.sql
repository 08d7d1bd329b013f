-- Ids of the touches that name another source than a touch of the same moment: their order matters.
WITH disputed AS (
  SELECT person_id, event_us, touch_rank
  FROM affected_events
  WHERE touch_rank IS NOT NULL
  GROUP BY ALL
  HAVING min(source_key) <> max(source_key))
SELECT rowid AS event_row, event_id, write_key
FROM meta.events
WHERE rowid IN (SELECT event_row FROM affected_events JOIN disputed USING (person_id, event_us, touch_rank))
