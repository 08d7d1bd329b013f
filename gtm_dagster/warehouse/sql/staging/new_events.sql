-- The rows of the batch that are new, with the columns of meta.events in their order. The source is found by the hash of
-- its six inputs, compared in full behind it; a row that names nothing looks nothing up.
WITH hashed AS (
  SELECT *,
    CASE WHEN source IS NOT NULL OR medium IS NOT NULL OR campaign IS NOT NULL OR referrer_text IS NOT NULL OR click_kind IS NOT NULL
      THEN hash(source, medium, campaign, referrer_text, page_origin, click_kind) END AS input_hash
  FROM source_inputs n $but_losers),
known AS (
  SELECT *, hash(source, medium, campaign, referrer_text, page_origin, click_kind) AS input_hash FROM batch_sources)
SELECT h.write_key, h.event_id, h.event_name, coalesce(u.id_no, a.id_no) AS person_no, u.id_no AS user_no, a.id_no AS anonymous_no,
  h.session_id, h.properties, h.source, h.medium, h.campaign, h.term, h.content, h.device_type, h.locale, h.page_url, h.referrer,
  h.click_id, h.country, h.region, h.timezone, h.consent, h.plan_version, h.bot_reason, h.event_us, h.received_us,
  (h.device_type IS DISTINCT FROM 'api' AND h.event_name <> 'flag_exposed' AND (h.bot_reason IS NULL OR $keeps_bots)) AS browsing,
  (h.bot_reason IS NULL OR $keeps_bots) AS counted,
  CAST($local_time AS DATE) AS local_day, i.source_key, i.touch_rank, h.file_path, h.file_row
FROM hashed h
LEFT JOIN batch_ids u ON u.id = h.user_id
LEFT JOIN batch_ids a ON a.id = h.anonymous_id
LEFT JOIN known i ON h.input_hash = i.input_hash AND h.source IS NOT DISTINCT FROM i.source
  AND h.medium IS NOT DISTINCT FROM i.medium AND h.campaign IS NOT DISTINCT FROM i.campaign
  AND h.referrer_text IS NOT DISTINCT FROM i.referrer_text AND h.page_origin IS NOT DISTINCT FROM i.page_origin
  AND h.click_kind IS NOT DISTINCT FROM i.click_kind
