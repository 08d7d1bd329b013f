-- What the events of the affected ranges whose plan declares the property say about accounts: a row a person and moment, by the last event of the moment that
-- names one. A text of blanks names none.
WITH named AS (
  SELECT e.person_no, e.event_us, e.local_day, e.event_id, e.write_key, trim(json_extract_string(e.properties, $pointer)) AS account_id
  FROM meta.events e
  $among
  WHERE e.event_name IN ($events) AND contains(e.properties, $quoted))
SELECT person_no, event_us, min(local_day) AS local_day,
  arg_max(account_id, struct_pack(event_id := event_id, write_key := write_key)) AS account_id
FROM named
WHERE account_id <> ''
GROUP BY person_no, event_us
