-- The start and the source of each person's first session.
WITH numbered AS (
  SELECT person_id, source_key, start_us, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY start_us NULLS FIRST, tie_no NULLS FIRST) AS session_no
  FROM sessions
)
SELECT n.person_id, s.source, s.medium, s.campaign, s.channel, n.start_us
FROM numbered AS n
JOIN sources AS s ON s.source_key = n.source_key
WHERE n.session_no = 1
