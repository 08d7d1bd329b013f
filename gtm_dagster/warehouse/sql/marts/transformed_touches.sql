-- The touches that transform $step_no of each path leaves, numbered anew; a path without such a transform keeps all.
-- exposure: of touches in a row of one channel the oldest. first, last: of each channel the oldest, the newest touch.
-- newest: so many newest touches. remove_if_not_all: none of a channel, unless there is no other. remove_if_last_and_not_all:
-- none of a channel behind the last touch of another one, unless there is no other.
WITH placed AS (
  SELECT
    t.*, s.kind, s.channel_no AS step_channel, s.newest,
    LEAD(t.channel_no) OVER (PARTITION BY t.path_no, t.conversion_id ORDER BY t.back_no NULLS FIRST) AS older_channel,
    MAX(t.back_no) OVER (PARTITION BY t.path_no, t.conversion_id, t.channel_no) AS oldest_no,
    MIN(t.back_no) OVER (PARTITION BY t.path_no, t.conversion_id, t.channel_no) AS newest_no,
    MIN(CASE WHEN t.channel_no <> s.channel_no THEN t.back_no END) OVER (PARTITION BY t.path_no, t.conversion_id) AS other_no
  FROM path_touches AS t
  LEFT JOIN path_steps AS s ON s.path_no = t.path_no AND s.step_no = $step_no
)
SELECT
  path_no, conversion_id, session_key, source_key, channel_no, is_direct, is_paid, age_us,
  ROW_NUMBER() OVER (PARTITION BY path_no, conversion_id ORDER BY back_no NULLS FIRST) AS back_no,
  MIN(age_us) OVER (PARTITION BY path_no, conversion_id) AS youngest_us
FROM placed
WHERE CASE kind
    WHEN 'exposure' THEN COALESCE(older_channel, -1) <> channel_no
    WHEN 'first' THEN back_no = oldest_no
    WHEN 'last' THEN back_no = newest_no
    WHEN 'newest' THEN back_no <= newest
    WHEN 'remove_if_not_all' THEN other_no IS NULL OR channel_no <> step_channel
    WHEN 'remove_if_last_and_not_all' THEN other_no IS NULL OR back_no >= other_no
    ELSE TRUE
  END
