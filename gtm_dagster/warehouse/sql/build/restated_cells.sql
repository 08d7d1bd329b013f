-- The changed cells of days that were over at the refresh before. A model and window that is computed for the first time, or no
-- more, restates nothing.
WITH before AS (SELECT DISTINCT model, window_hours FROM meta.compared_credit),
now AS (SELECT DISTINCT model, window_hours FROM marts.channel_attribution)
SELECT c.day, c.conversion_type, c.currency, c.model, c.window_hours, c.channel, c.conversions_before, c.conversions_after,
  coalesce(c.value_before, CASE WHEN c.value_after IS NOT NULL THEN 0 END) AS value_before,
  coalesce(c.value_after, CASE WHEN c.value_before IS NOT NULL THEN 0 END) AS value_after,
  row_number() OVER () AS cell_no
FROM changed_cells c
SEMI JOIN before b ON b.model = c.model AND b.window_hours = c.window_hours
SEMI JOIN now n ON n.model = c.model AND n.window_hours = c.window_hours
JOIN meta.restatement_state s ON c.day >= s.first_day AND c.day < s.newest_day
