-- The distinct combinations of what sources are read from.
SELECT DISTINCT source, medium, campaign, referrer_text, page_origin, click_kind
FROM source_inputs
WHERE source IS NOT NULL OR medium IS NOT NULL OR campaign IS NOT NULL OR referrer_text IS NOT NULL OR click_kind IS NOT NULL
