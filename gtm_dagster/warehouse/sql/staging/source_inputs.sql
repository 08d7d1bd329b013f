-- What a source is read from, for each accepted row of the batch, cut to what can decide: of a page and of most referrers the
-- text up to the end of the host and the sign behind it, of a click id that names its kind the name.
SELECT b.*,
  CASE WHEN $path_decides THEN b.referrer ELSE regexp_extract(b.referrer, '$origin') END AS referrer_text,
  CASE WHEN b.referrer IS NOT NULL THEN regexp_extract(b.page_url, '$origin') END AS page_origin,
  $click_kind
FROM batch b $joins
WHERE b.verdict = 'accepted'
