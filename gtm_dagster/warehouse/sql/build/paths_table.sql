-- Distinct paths and how often they converted, with what value, and how often they did not.
SELECT month, conversion_type, currency, model, window_hours, path, touches, sum(conversions) AS conversions, sum(value) AS value,
  sum(nulls) AS nulls
FROM meta.person_paths
GROUP BY ALL
