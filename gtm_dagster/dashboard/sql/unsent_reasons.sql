-- Why starts of rules led to no message, by the day they were decided (UTC).
SELECT
  rule,
  reason,
  COUNT(*) AS starts,
  COUNT(DISTINCT person) AS persons,
  MAX(decided_wall_at) AS newest
FROM marts.trigger_decisions
WHERE outcome = 'not_sent' AND CAST(decided_wall_at AS DATE) BETWEEN $from AND $to
GROUP BY 1, 2
ORDER BY starts DESC, rule, reason
