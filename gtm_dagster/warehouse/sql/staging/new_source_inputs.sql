-- Combinations of inputs that have no row of core.sources yet.
SELECT DISTINCT source, medium, campaign, referrer_host, click_kind
FROM source_inputs
WHERE source IS NOT NULL OR medium IS NOT NULL OR campaign IS NOT NULL OR referrer_host IS NOT NULL OR click_kind IS NOT NULL
EXCEPT
SELECT source, medium, campaign, referrer_host, click_kind FROM meta.source_inputs
