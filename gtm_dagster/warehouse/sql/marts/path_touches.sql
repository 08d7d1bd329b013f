-- The touches of each conversion within each lookback, counted from the conversion backwards: back_no 1 is the newest.
-- Touches are ordered once; a lookback holds the first ones, whatever the model.
WITH ordered AS (
  SELECT
    conversion_id, session_key, source_key, channel_no, is_direct, is_paid, age_us,
    ROW_NUMBER() OVER (PARTITION BY conversion_id ORDER BY touch_us DESC NULLS LAST, tie_no DESC NULLS LAST) AS back_no,
    FIRST_VALUE(age_us) OVER (PARTITION BY conversion_id ORDER BY touch_us DESC NULLS LAST, tie_no DESC NULLS LAST) AS youngest_us
  FROM conversion_touches
)
SELECT
  p.path_no, o.conversion_id, o.session_key, o.source_key, o.channel_no, o.is_direct, o.is_paid, o.age_us, o.back_no, o.youngest_us
FROM ordered AS o
JOIN paths AS p ON o.age_us <= p.window_us
