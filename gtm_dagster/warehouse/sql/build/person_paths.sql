-- The rows of meta.person_paths: conversions with their path, without one where no touch counts; and the paths that did not
-- convert. A path of up to 20 touches is a number first, 6 bits a touch: there are few of these to write out, and to add up
-- numbers takes no order.
WITH counted AS MATERIALIZED (
  SELECT path_no, conversion_id AS key_no, least(count(*), $most_touches) AS touches,
    CASE WHEN count(*) <= 20 AND max(channel_no) < 64 THEN
      sum(CASE WHEN back_no <= 20 THEN CAST(channel_no & 63 AS HUGEINT) << (6 * (least(back_no, 20) - 1)) ELSE 0 END) END AS code
  FROM path_touches
  GROUP BY ALL),
written AS (
  SELECT d.code, d.touches, array_to_string([n.names[CAST((d.code >> (6 * place)) & 63 AS INTEGER) + 1]
    FOR place IN range(d.touches - 1, -1, -1)], ' > ') AS path
  FROM (SELECT DISTINCT code, touches FROM counted WHERE code IS NOT NULL) d
  CROSS JOIN (SELECT list(channel ORDER BY channel_no) AS names FROM channels) n),
walked AS MATERIALIZED (
  SELECT c.path_no, c.key_no, c.touches, w.path
  FROM counted c
  JOIN written w ON w.code = c.code AND w.touches = c.touches
  UNION ALL
  SELECT t.path_no, t.conversion_id, c.touches, string_agg(n.channel, ' > ' ORDER BY t.back_no DESC)
  FROM path_touches t
  JOIN counted c ON c.path_no = t.path_no AND c.key_no = t.conversion_id AND c.code IS NULL
  JOIN channels n ON n.channel_no = t.channel_no
  WHERE t.back_no <= $most_touches
  GROUP BY ALL)
SELECT k.person_no, k.moment_us, k.month, k.conversion_type, k.currency, w.model, w.window_hours, p.path,
  coalesce(p.touches, 0) AS touches, CASE WHEN k.conversion_id IS NULL THEN 0 ELSE 1 END AS conversions, k.value,
  CASE WHEN k.conversion_id IS NULL THEN 1 ELSE 0 END AS nulls
FROM path_keys k
CROSS JOIN windows w
LEFT JOIN walked p ON p.key_no = k.key_no AND p.path_no = w.path_no
WHERE k.conversion_id IS NOT NULL OR p.key_no IS NOT NULL
