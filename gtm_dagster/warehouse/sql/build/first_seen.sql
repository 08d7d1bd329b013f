-- When each anonymous id was first seen, and first with a user.
SELECT anonymous_no, min(event_us) AS first_us, min(event_us) FILTER (user_no IS NOT NULL) AS named_us
FROM $events
WHERE anonymous_no IS NOT NULL
GROUP BY 1
