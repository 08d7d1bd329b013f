-- The newest conversions of this type in the period, or those whose id has the text that was asked for; times in UTC.
SELECT conversion_id, conversion_time, value, refunded
FROM core.conversions
WHERE day BETWEEN $from AND $to
  AND conversion_type = $type
  AND currency IS NOT DISTINCT FROM $currency
  AND ($q = '' OR contains(lower(conversion_id), lower($q)) OR contains(person_id, $q))
ORDER BY conversion_us DESC, conversion_id
LIMIT 25
