-- The persons of each month (report time zone): those with a session that begins in it; and the end of the last of these.
SELECT s.person_no, CAST(date_trunc('month', $local) AS DATE) AS month, max(s.end_us) AS end_us
FROM core.sessions s
WHERE $among
GROUP BY 1, 2
