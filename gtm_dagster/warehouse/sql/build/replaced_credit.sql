-- The credit by channel of the affected conversions of days that were over, before it is replaced; not of those that are there already.
WITH conversions AS (
  SELECT DISTINCT c.conversion_id, c.person_no, c.day, c.conversion_type, c.currency, c.refunded
  FROM core.conversions c
  JOIN affected r ON $within
  CROSS JOIN meta.restatement_state s
  WHERE c.day >= s.first_day AND c.day < s.newest_day
    AND c.conversion_id NOT IN (SELECT conversion_id FROM meta.replaced_credit))
SELECT c.conversion_id, c.person_no, c.day, c.conversion_type, c.currency, a.model, a.window_hours, a.channel,
  sum(a.credit) AS credit, sum(a.value) AS value, sum(a.net_value) AS net_value, c.refunded
FROM conversions c
JOIN marts.attribution_credits a ON a.person_no = c.person_no AND a.conversion_id = c.conversion_id
GROUP BY ALL
