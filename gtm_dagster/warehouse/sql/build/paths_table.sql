-- Distinct paths and how often they converted, with what value, and how often they did not; whoever never converted counts
-- for every type.
WITH counted AS (
  SELECT month, conversion_type, currency, model, window_hours, path, touches, sum(conversions) AS conversions, sum(value) AS value,
    sum(nulls) AS nulls
  FROM meta.person_paths
  GROUP BY ALL)
SELECT c.month, t.conversion_type, c.currency, c.model, c.window_hours, c.path, c.touches, sum(c.conversions) AS conversions,
  sum(c.value) AS value, sum(c.nulls) AS nulls
FROM counted c
JOIN path_types t ON c.conversion_type IS NULL OR c.conversion_type = t.conversion_type
GROUP BY ALL
