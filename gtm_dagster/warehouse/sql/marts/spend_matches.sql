-- Which spend a source that visits name belongs to, by currency: that of its campaign, else of its source and medium, else of
-- its source, else of its channel. match_no 1 is the finest; the others say that a key of spend has visits.
WITH keys AS (
  SELECT DISTINCT
    source AS key_source, medium AS key_medium, campaign AS key_campaign, channel AS key_channel, currency AS spend_currency
  FROM spend
), places AS (
  SELECT DISTINCT source, medium, campaign, channel
  FROM sources
), pairs AS (
  SELECT p.source, p.medium, p.campaign, p.channel, k.key_source, k.key_medium, k.key_campaign, k.key_channel, k.spend_currency, 1 AS grain_no
  FROM places AS p
  JOIN keys AS k ON k.key_source = p.source AND k.key_medium = p.medium AND k.key_campaign = p.campaign
  UNION ALL
  SELECT p.source, p.medium, p.campaign, p.channel, k.key_source, k.key_medium, k.key_campaign, k.key_channel, k.spend_currency, 2
  FROM places AS p
  JOIN keys AS k ON k.key_source = p.source AND k.key_campaign = p.campaign
  WHERE k.key_medium IS NULL
  UNION ALL
  SELECT p.source, p.medium, p.campaign, p.channel, k.key_source, k.key_medium, k.key_campaign, k.key_channel, k.spend_currency, 3
  FROM places AS p
  JOIN keys AS k ON k.key_source = p.source AND k.key_medium = p.medium
  WHERE k.key_campaign IS NULL
  UNION ALL
  SELECT p.source, p.medium, p.campaign, p.channel, k.key_source, k.key_medium, k.key_campaign, k.key_channel, k.spend_currency, 4
  FROM places AS p
  JOIN keys AS k ON k.key_source = p.source AND k.key_channel = p.channel
  WHERE k.key_campaign IS NULL AND k.key_medium IS NULL
  UNION ALL
  SELECT p.source, p.medium, p.campaign, p.channel, k.key_source, k.key_medium, k.key_campaign, k.key_channel, k.spend_currency, 5
  FROM places AS p
  JOIN keys AS k ON k.key_channel = p.channel
  WHERE k.key_source IS NULL
)
SELECT
  source, medium, campaign, channel, key_source, key_medium, key_campaign, key_channel, spend_currency,
  CASE grain_no WHEN 3 THEN 'medium' WHEN 4 THEN 'source' WHEN 5 THEN 'channel' ELSE 'campaign' END AS grain,
  ROW_NUMBER() OVER (
    PARTITION BY source, medium, campaign, channel, spend_currency ORDER BY grain_no NULLS FIRST, key_channel NULLS FIRST
  ) AS match_no
FROM pairs
