-- Conversions that the affected ranges can touch, now or before, and the number of the first of their reasons: withdrawn imports
-- and merges of the person they belong to or belonged to, else late events.
WITH known AS (
  SELECT c.conversion_id, c.person_no FROM core.conversions c JOIN affected r ON $within
  UNION
  SELECT conversion_id, person_no FROM meta.replaced_credit
  UNION
  SELECT c.conversion_id, c.person_no
  FROM core.conversions c
  SEMI JOIN meta.replaced_credit b ON b.conversion_id = c.conversion_id)
SELECT k.conversion_id,
  min(coalesce(n.reason_no, (SELECT max(reason_no) FROM restatement_reasons))) AS reason_no
FROM known k
LEFT JOIN meta.restatement_causes w ON w.person_no = k.person_no
LEFT JOIN restatement_reasons n ON n.reason = w.cause
GROUP BY ALL
