-- The rows of core.spend: account days divided into report days by hours.
SELECT h.day, s.account_day, s.write_key, p.source, p.medium, p.campaign, p.channel, s.currency,
  s.cost * h.share AS cost, s.impressions * h.share AS impressions, s.clicks * h.share AS clicks
FROM counted_spend s
JOIN day_shares h ON h.account_day = s.account_day AND h.timezone IS NOT DISTINCT FROM s.timezone
JOIN spend_places p ON p.given_source IS NOT DISTINCT FROM s.source AND p.given_medium IS NOT DISTINCT FROM s.medium
  AND p.given_campaign IS NOT DISTINCT FROM s.campaign AND p.given_channel IS NOT DISTINCT FROM s.channel
