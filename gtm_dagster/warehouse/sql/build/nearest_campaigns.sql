-- For spend on campaigns that no visit names, the most alike campaign that visits of the same source or channel name.
WITH unmatched AS (
  SELECT source, campaign, channel, sum(spend) AS spent
  FROM marts.campaign_performance
  WHERE matched = '(unmatched)' AND campaign IS NOT NULL
  GROUP BY ALL
  ORDER BY spent DESC, source, campaign, channel
  LIMIT 200),
known AS (
  SELECT DISTINCT source, channel, campaign FROM core.sources WHERE campaign IS NOT NULL),
alike AS (
  SELECT u.source, u.campaign, u.channel, k.campaign AS nearest, jaro_winkler_similarity(lower(u.campaign), lower(k.campaign)) AS likeness
  FROM unmatched u
  JOIN known k ON k.source = u.source OR k.channel = u.channel)
SELECT source, campaign, channel, nearest
FROM alike
WHERE likeness >= 0.7
QUALIFY row_number() OVER (PARTITION BY source, campaign, channel ORDER BY likeness DESC, nearest) = 1
