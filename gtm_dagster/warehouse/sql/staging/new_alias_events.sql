-- Events of the batch that may name another id of their user. What they say is looked up in meta.events, where the copy is
-- that stays.
SELECT write_key, event_id
FROM batch
WHERE verdict = 'accepted' AND event_name = 'user_identified' AND user_id IS NOT NULL
  AND (contains(properties, '"alias_of"') OR contains(properties, '"previous_id"'))
EXCEPT
SELECT write_key, event_id FROM meta.alias_events
