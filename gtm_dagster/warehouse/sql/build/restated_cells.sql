-- The changed cells of days that were over at the refresh before. A model and window that is computed for the first time, or no
-- more, restates nothing. What a cell that came or went did not have is 0 where it has it on the other side, but for spend.
WITH before AS (SELECT DISTINCT model, window_hours FROM meta.compared_credit),
now AS (SELECT DISTINCT model, window_hours FROM marts.channel_attribution)
SELECT c.day, c.conversion_type, c.currency, c.model, c.window_hours, c.channel, c.conversions_before, c.conversions_after,
  coalesce(c.value_before, 0 * c.value_after) AS value_before, coalesce(c.value_after, 0 * c.value_before) AS value_after,
  coalesce(c.net_before, 0 * c.net_after) AS net_before, coalesce(c.net_after, 0 * c.net_before) AS net_after,
  c.spend_before, c.spend_after, row_number() OVER () AS cell_no
FROM changed_cells c
SEMI JOIN before b ON b.model = c.model AND b.window_hours = c.window_hours
SEMI JOIN now n ON n.model = c.model AND n.window_hours = c.window_hours
JOIN meta.restatement_state s ON c.day >= s.first_day AND c.day < s.newest_day
