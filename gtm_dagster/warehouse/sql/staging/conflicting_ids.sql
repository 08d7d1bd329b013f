-- Ids with copies of another content than the one that stays, those that are new.
SELECT write_key, event_id FROM duplicates_of_events WHERE conflict
UNION
SELECT l.write_key, l.event_id
FROM copies l
JOIN copies w ON w.wins AND l.write_key = w.write_key AND l.event_id = w.event_id AND l.compared_hash <> w.compared_hash
EXCEPT
SELECT write_key, event_id FROM meta.conflicts
