-- The spend that counts of the changed account days: of each key the rows of the newest import, equal ones added up. A
-- channel is part of the key where no source is named.
WITH placed AS (
  SELECT s.*, rank() OVER (
      PARTITION BY s.write_key, s.account_day, s.source, s.medium, s.campaign, s.currency, CASE WHEN s.source IS NULL THEN s.channel END
      ORDER BY b.imported_us DESC, s.batch DESC) AS place
  FROM meta.spend_rows s
  JOIN meta.spend_batches b ON b.batch = s.batch
  SEMI JOIN changed_days d ON d.account_day = s.account_day)
SELECT write_key, account_day, timezone, source, medium, campaign, channel, currency, sum(cost ORDER BY row_no) AS cost,
  CAST(sum(impressions) AS DOUBLE) AS impressions, CAST(sum(clicks) AS DOUBLE) AS clicks
FROM placed
WHERE place = 1
GROUP BY ALL
