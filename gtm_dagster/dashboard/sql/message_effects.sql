-- Persons that a message was decided for against persons of the holdout, all time: the share that reached the rule's goal in its
-- hours, with 95 % intervals (Wilson; Newcombe for the effect). Persons whose hours are not over are in no share.
SELECT
  rule,
  goal,
  goal_hours,
  arm,
  persons,
  converted,
  rate,
  low,
  high,
  effect,
  effect_low,
  effect_high,
  persons_open
FROM marts.trigger_effects
ORDER BY rule, arm DESC
