-- The newest decisions about the person that was asked for, and why there was no message.
SELECT decided_at, rule, outcome, reason, channel, delivery, started_at
FROM marts.trigger_decisions
WHERE person = $person AND $person <> ''
ORDER BY decided_wall_at DESC, rule
LIMIT 100
