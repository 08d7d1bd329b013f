-- Conversions that the affected ranges can touch, now or before, and the number of the first of their reasons: withdrawn imports
-- and merges of the person they belong to or belonged to, money given back, else late events.
WITH known AS (
  SELECT c.conversion_id, c.person_no FROM core.conversions c JOIN affected r ON $within
  UNION
  SELECT conversion_id, person_no FROM meta.replaced_credit
  UNION
  SELECT c.conversion_id, c.person_no
  FROM core.conversions c
  SEMI JOIN meta.replaced_credit b ON b.conversion_id = c.conversion_id),
causes AS (
  SELECT k.conversion_id, w.cause FROM known k JOIN meta.restatement_causes w ON w.person_no = k.person_no
  UNION
  SELECT c.conversion_id, $refund
  FROM (SELECT DISTINCT conversion_id, refunded FROM meta.replaced_credit) b
  JOIN core.conversions c ON c.conversion_id = b.conversion_id
  WHERE c.refunded IS DISTINCT FROM b.refunded)
SELECT k.conversion_id, min(coalesce(n.reason_no, late.reason_no)) AS reason_no
FROM known k
CROSS JOIN (SELECT reason_no FROM restatement_reasons WHERE reason = $late) late
LEFT JOIN causes w ON w.conversion_id = k.conversion_id
LEFT JOIN restatement_reasons n ON n.reason = w.cause
GROUP BY ALL
