-- Starts of rules by the day they were decided (UTC, by the clock of the machine): with a message, and without one for any
-- reason. Delivered and given-up messages stand on the day they were decided.
SELECT
  CAST(decided_wall_at AS DATE) AS day,
  COUNT(CASE WHEN outcome = 'sent' THEN 1 END) AS messages,
  COUNT(CASE WHEN delivery = 'delivered' THEN 1 END) AS delivered,
  COUNT(CASE WHEN delivery = 'dead' THEN 1 END) AS given_up,
  COUNT(CASE WHEN outcome = 'not_sent' THEN 1 END) AS not_sent
FROM marts.trigger_decisions
WHERE CAST(decided_wall_at AS DATE) BETWEEN $from AND $to
GROUP BY 1
ORDER BY 1
