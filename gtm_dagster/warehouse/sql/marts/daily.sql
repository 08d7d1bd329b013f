-- The day at a glance. Visitors, sessions and sign-ups stand in the row without a conversion type, conversions and their
-- value in a row for each type and currency, so that every column adds up over rows and days.
-- A conversion is unattributed when no session within the longest lookback came before it, whatever the model.
WITH activity AS (
  SELECT day, COUNT(DISTINCT person_id) AS n_visitors, COUNT(*) AS n_sessions, 0 AS n_sign_ups
  FROM day_sessions
  GROUP BY day
  UNION ALL
  SELECT day, 0 AS n_visitors, 0 AS n_sessions, COUNT(DISTINCT person_id) AS n_sign_ups
  FROM day_sign_ups
  GROUP BY day
), reached AS (
  SELECT DISTINCT conversion_id
  FROM touchpoints
), totals AS (
  SELECT
    c.day, c.conversion_type, c.currency, COUNT(*) AS n_conversions, SUM(c.value) AS total_value,
    COUNT(*) - COUNT(r.conversion_id) AS n_unattributed
  FROM conversions AS c
  LEFT JOIN reached AS r ON r.conversion_id = c.conversion_id
  GROUP BY c.day, c.conversion_type, c.currency
)
SELECT
  day, CAST(NULL AS VARCHAR) AS type_name, CAST(NULL AS VARCHAR) AS currency_code,
  CAST(SUM(n_visitors) AS BIGINT) AS visitors, CAST(SUM(n_sessions) AS BIGINT) AS sessions,
  CAST(SUM(n_sign_ups) AS BIGINT) AS sign_ups, CAST(NULL AS BIGINT) AS conversions, CAST(NULL AS DOUBLE) AS total_value,
  CAST(NULL AS BIGINT) AS unattributed, CAST(NULL AS DOUBLE) AS unattributed_share
FROM activity
GROUP BY day
UNION ALL
SELECT
  day, conversion_type, currency, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
  n_conversions, total_value, n_unattributed, CAST(n_unattributed AS DOUBLE) / n_conversions
FROM totals
