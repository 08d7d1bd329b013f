-- Credit of each touch where the oldest touch, the touch of each stage and, for full_path, the newest earn most: key_weight
-- for each such moment a touch stands for, a tenth shared by touches of none, over the sum of all. The touch of a stage is
-- the newest one at or before the person's first event of that stage; a stage without one leaves its part to the others.
WITH counted AS (
  SELECT t.*, COUNT(*) OVER (PARTITION BY t.path_no, t.conversion_id) AS touches
  FROM path_touches AS t
  WHERE t.path_no IN (SELECT path_no FROM windows WHERE method = 'by_stage')
), reached AS (
  SELECT t.path_no, t.conversion_id, s.stage_no, MIN(t.back_no) AS stage_back_no
  FROM counted AS t
  JOIN conversion_stages AS s ON s.conversion_id = t.conversion_id AND t.age_us >= s.stage_age_us
  GROUP BY t.path_no, t.conversion_id, s.stage_no
), stages AS (
  SELECT path_no, conversion_id, stage_back_no, COUNT(*) AS n_stages
  FROM reached
  GROUP BY path_no, conversion_id, stage_back_no
), moments AS (
  SELECT
    t.conversion_id, t.path_no, w.model, w.window_hours, w.key_weight, t.session_key, t.source_key,
    COALESCE(s.n_stages, 0) + CASE WHEN t.back_no = t.touches THEN 1 ELSE 0 END + CASE WHEN t.back_no = 1 THEN w.newest_is_key ELSE 0 END AS n_moments
  FROM counted AS t
  JOIN windows AS w ON w.path_no = t.path_no AND w.method = 'by_stage'
  LEFT JOIN stages AS s ON s.path_no = t.path_no AND s.conversion_id = t.conversion_id AND s.stage_back_no = t.back_no
), weighed AS (
  SELECT
    conversion_id, model, window_hours, session_key, source_key,
    CASE WHEN n_moments > 0 THEN key_weight * n_moments
      ELSE 1e-1 / SUM(CASE WHEN n_moments = 0 THEN 1 ELSE 0 END) OVER (PARTITION BY conversion_id, model, window_hours) END AS weight
  FROM moments
)
SELECT
  conversion_id, model, window_hours, session_key, source_key,
  weight / SUM(weight) OVER (PARTITION BY conversion_id, model, window_hours) AS credit
FROM weighed
