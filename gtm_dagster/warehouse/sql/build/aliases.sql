-- The other ids that events name of their user, and what else is known of such an id: whether an event has it as its user
-- or as its anonymous id.
WITH named AS (
  SELECT u.id AS user_id, e.user_no, e.event_us, e.event_id, e.write_key,
    nullif(json_extract_string(e.properties, '/alias_of'), '') AS alias_of,
    nullif(json_extract_string(e.properties, '/previous_id'), '') AS previous_id
  FROM meta.events e
  JOIN meta.alias_events a ON a.write_key = e.write_key AND a.event_id = e.event_id
  JOIN meta.ids u ON u.id_no = e.user_no
  WHERE e.event_name = 'user_identified'),
previous AS MATERIALIZED (
  SELECT id_no, id FROM meta.ids WHERE id IN (SELECT previous_id FROM named))
SELECT user_id, user_no, event_us, event_id, write_key, alias_of AS other_id, true AS is_user, NULL AS anonymous_no
FROM named
WHERE alias_of IS NOT NULL
UNION ALL
SELECT n.user_id, n.user_no, n.event_us, n.event_id, n.write_key, n.previous_id, p.id_no IN (SELECT user_no FROM meta.events WHERE user_no IN (SELECT id_no FROM previous)), p.id_no
FROM named n
JOIN previous p ON p.id = n.previous_id
