-- The shares of the sources of a person's sessions in each stage the person reached: the sessions that began at or before
-- the stage, each with the source known by then (direct, 0, for one named later). The shares of each model add up to 1.
-- Most stages have a single session before them, whose share is whole: nothing of these is ordered.
WITH touches AS (
  SELECT
    r.person_id, r.stage_no, s.start_us, s.tie_no, CASE WHEN s.source_us <= r.reached_us THEN s.source_key ELSE 0 END AS touch_key
  FROM reached_stages AS r
  JOIN session_starts AS s ON s.person_id = r.person_id AND s.start_us <= r.reached_us
), counted AS (
  SELECT person_id, stage_no, COUNT(*) AS touches, MIN(touch_key) AS touch_key
  FROM touches
  GROUP BY person_id, stage_no
), ordered AS (
  SELECT
    t.person_id, t.stage_no, t.touch_key, n.touches, CASE WHEN k.channel <> 'Direct' THEN 1 END AS is_named,
    ROW_NUMBER() OVER (PARTITION BY t.person_id, t.stage_no ORDER BY t.start_us DESC NULLS LAST, t.tie_no DESC NULLS LAST) AS back_no
  FROM counted AS n
  JOIN touches AS t ON t.person_id = n.person_id AND t.stage_no = n.stage_no
  JOIN sources AS k ON k.source_key = t.touch_key
  WHERE n.touches > 1
), placed AS (
  SELECT
    person_id, stage_no, touch_key, back_no, touches,
    COALESCE(MIN(CASE WHEN is_named = 1 THEN back_no END) OVER (PARTITION BY person_id, stage_no), 1) AS named_no
  FROM ordered
)
SELECT
  person_id, stage_no, touch_key AS source_key, SUM(CASE WHEN back_no = touches THEN 1e0 ELSE 0e0 END) AS first_share,
  SUM(CASE WHEN back_no = 1 THEN 1e0 ELSE 0e0 END) AS last_share,
  SUM(CASE WHEN back_no = named_no THEN 1e0 ELSE 0e0 END) AS named_share, SUM(1e0 / touches) AS linear_share
FROM placed
GROUP BY person_id, stage_no, touch_key
UNION ALL
SELECT
  person_id, stage_no, touch_key AS source_key, 1e0 AS first_share, 1e0 AS last_share, 1e0 AS named_share, 1e0 AS linear_share
FROM counted
WHERE touches = 1
