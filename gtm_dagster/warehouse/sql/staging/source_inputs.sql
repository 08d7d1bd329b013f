-- What a source is read from, for each accepted row of the batch. A referrer of the page's own site is navigation, not a
-- source; a click id counts by its kind alone.
WITH hosts AS (
  SELECT b.*,
    CASE WHEN b.referrer IS NOT NULL THEN nullif(lower(regexp_extract(b.referrer, '^(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:www[.])?([^/?#:]+)', 1)), '') END AS named_host,
    CASE WHEN b.referrer IS NOT NULL THEN nullif(lower(regexp_extract(b.page_url, '^(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:www[.])?([^/?#:]+)', 1)), '') END AS own_host
  FROM batch b
  WHERE b.verdict = 'accepted')
SELECT h.* EXCLUDE (named_host, own_host),
  CASE WHEN named_host = own_host OR ends_with(named_host, '.' || own_host) OR ends_with(own_host, '.' || named_host) THEN NULL ELSE named_host END AS referrer_host,
  $click_kind
FROM hosts h $click_kinds
