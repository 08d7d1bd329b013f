-- Copies with another content than the one that stays.
SELECT (SELECT count(*) FROM duplicates_of_events WHERE conflict)
  + (SELECT count(*) FROM copies l
     JOIN copies w ON w.wins AND l.write_key = w.write_key AND l.event_id = w.event_id AND l.compared_hash <> w.compared_hash)
