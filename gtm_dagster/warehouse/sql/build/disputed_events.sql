-- Ids of the events whose order matters: their moment holds touches or arrivals that differ, a touch and other events, or events of
-- several tracker sessions.
WITH disputed AS (
  SELECT person_id, event_us
  FROM affected_events
  GROUP BY ALL
  HAVING count(*) > 1 AND (min(source_key) <> max(source_key) OR count(touch_rank) BETWEEN 1 AND count(*) - 1
    OR min(session_id) <> max(session_id) OR min(arrival) <> max(arrival)))
SELECT rowid AS event_row, event_id, write_key
FROM meta.events
WHERE rowid IN (SELECT event_row FROM affected_events JOIN disputed USING (person_id, event_us))
