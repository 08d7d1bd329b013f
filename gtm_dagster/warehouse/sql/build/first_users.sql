-- The user an anonymous id was first seen with, and whether two users share that moment.
SELECT e.anonymous_no, s.named_us, min(e.user_no) AS user_no, max(e.user_no) <> min(e.user_no) AS disputed
FROM $events e
JOIN seen s ON s.anonymous_no = e.anonymous_no AND s.named_us = e.event_us
WHERE e.user_no IS NOT NULL
GROUP BY ALL
