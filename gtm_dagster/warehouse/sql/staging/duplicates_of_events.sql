-- Winners of the batch whose id meta.events holds already, and whether the new copy was received before it. The time of a copy
-- that the collector moved differs with each sending, so it is not compared.
WITH fresh AS (
  SELECT k.event_row, b.write_key, b.event_id, b.received_us, b.event_us, hash($content) AS content_hash,
    hash($untimed) AS untimed_hash, b.original_us, b.bot_reason, b.file_path, b.file_row
  FROM batch b
  JOIN known_rows k ON k.file_path = b.file_path AND k.file_row = b.file_row),
ids AS MATERIALIZED (
  SELECT id_no, id
  FROM meta.ids
  WHERE id_no IN (SELECT user_no FROM known_events UNION ALL SELECT anonymous_no FROM known_events)),
existing AS (
  SELECT event_row, received_us, event_us, person_no, anonymous_no, hash($content) AS content_hash,
    hash($untimed) AS untimed_hash, bot_reason
  FROM (
    SELECT e.*, u.id AS user_id, a.id AS anonymous_id
    FROM known_events e
    LEFT JOIN ids u ON u.id_no = e.user_no
    LEFT JOIN ids a ON a.id_no = e.anonymous_no))
SELECT f.write_key, f.event_id, f.received_us AS new_us, x.received_us AS old_us, x.person_no, x.anonymous_no, x.event_us,
  (f.received_us, f.event_us, f.content_hash, coalesce(f.bot_reason, '')) < (x.received_us, x.event_us, x.content_hash, coalesce(x.bot_reason, '')) AS newer_wins,
  CASE WHEN f.original_us IS NULL THEN f.content_hash <> x.content_hash ELSE f.untimed_hash <> x.untimed_hash END AS conflict,
  f.file_path, f.file_row
FROM fresh f
JOIN existing x ON x.event_row = f.event_row
$only_if_any
