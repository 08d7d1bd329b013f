-- The rows of core.conversions. Of the events of one payment the earliest by (time, event_id, write_key) is the conversion.
-- Refunds of a payment are taken off its conversions of the same currency, the earliest first, and never more than their
-- value; a refund without a currency is in that of the payment. The write key's colons are escaped, so that no two events
-- share a conversion_id.
WITH declared AS (
  SELECT c.*, t.only_first, t.is_unique AND c.payment IS NOT NULL AS once
  FROM candidates c
  JOIN (SELECT * FROM conversion_types WHERE NOT is_refund) t ON t.conversion_type = c.conversion_type
  WHERE NOT c.is_refund),
repeated AS (
  SELECT conversion_type, payment, count(*) AS n_events
  FROM declared
  WHERE once
  GROUP BY ALL
  HAVING count(*) > 1),
counted AS (
  SELECT t.*, 1 AS n_events
  FROM declared t
  LEFT JOIN repeated r ON t.once AND r.conversion_type = t.conversion_type AND r.payment = t.payment
  WHERE r.payment IS NULL
  UNION ALL
  SELECT t.*, r.n_events
  FROM declared t
  JOIN repeated r ON t.once AND r.conversion_type = t.conversion_type AND r.payment = t.payment
  QUALIFY row_number() OVER (PARTITION BY t.conversion_type, t.payment ORDER BY t.event_us, t.event_id, t.write_key) = 1),
given_back AS (
  SELECT conversion_type, payment, currency, amount, event_us, event_id, write_key
  FROM candidates
  WHERE is_refund AND amount IS NOT NULL),
refunded_payments AS (
  SELECT c.conversion_type, c.payment, c.write_key, c.event_id, c.event_us, c.currency, c.amount,
    first_value(c.currency) OVER (PARTITION BY c.conversion_type, c.payment ORDER BY c.event_us, c.event_id, c.write_key) AS first_currency,
    coalesce(sum(greatest(c.amount, 0)) OVER (PARTITION BY c.conversion_type, c.payment, c.currency
      ORDER BY c.event_us, c.event_id, c.write_key ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM counted c
  SEMI JOIN given_back g ON g.conversion_type = c.conversion_type AND g.payment = c.payment),
totals AS (
  SELECT g.conversion_type, g.payment, coalesce(g.currency, f.first_currency) AS currency,
    sum(g.amount ORDER BY g.event_us, g.event_id, g.write_key) AS total
  FROM given_back g
  JOIN (SELECT DISTINCT conversion_type, payment, first_currency FROM refunded_payments) f
    ON f.conversion_type = g.conversion_type AND f.payment = g.payment
  GROUP BY ALL),
refunds AS (
  SELECT p.conversion_type, p.write_key, p.event_id, greatest(least(t.total - p.before, p.amount), 0) AS refunded
  FROM refunded_payments p
  JOIN totals t ON t.conversion_type = p.conversion_type AND t.payment = p.payment AND t.currency IS NOT DISTINCT FROM p.currency),
kept AS (
  SELECT * FROM counted WHERE NOT only_first
  UNION ALL
  SELECT * FROM counted WHERE only_first
  QUALIFY row_number() OVER (PARTITION BY conversion_type, person_no ORDER BY event_us, event_id, write_key) = 1),
priced AS (
  SELECT k.*, CASE WHEN k.amount IS NOT NULL THEN coalesce(g.refunded, 0) END AS refunded
  FROM kept k
  LEFT JOIN refunds g ON g.conversion_type = k.conversion_type AND g.write_key = k.write_key AND g.event_id = k.event_id)
SELECT replace(replace(k.write_key, '\', '\\'), ':', '\:') || ':' || k.event_id AS conversion_id, p.id AS person_id,
  make_timestamp(k.event_us) AS conversion_time, k.conversion_type, k.amount AS value, k.refunded, k.amount - k.refunded AS net_value,
  k.currency, k.local_day AS day, k.event_us AS conversion_us, CASE WHEN k.once THEN k.payment END AS unique_value, k.n_events, k.is_no_number AS value_is_no_number, k.person_no
FROM priced k
JOIN meta.ids p ON p.id_no = k.person_no
$among
