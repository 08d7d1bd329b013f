-- Seconds from an event, or from the moment a wait was over, to the decision and to the delivery: the half below which half of
-- the messages are, and that of 99 of 100. Messages decided in the period (UTC).
SELECT
  rule,
  channel,
  COUNT(*) AS messages,
  COUNT(delivery_seconds) AS delivered,
  quantile_cont(decision_seconds, 0.5) AS decided_half,
  quantile_cont(decision_seconds, 0.99) AS decided_99,
  quantile_cont(delivery_seconds, 0.5) AS delivered_half,
  quantile_cont(delivery_seconds, 0.99) AS delivered_99
FROM marts.trigger_decisions
WHERE outcome = 'sent' AND CAST(decided_wall_at AS DATE) BETWEEN $from AND $to
GROUP BY 1, 2
ORDER BY messages DESC, rule
