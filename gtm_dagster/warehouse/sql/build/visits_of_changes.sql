-- The changed ranges, each as wide as the visits it lies in or within one timeout of.
SELECT c.person_no, least(c.lo_us, coalesce(min(s.visit_start_us), c.lo_us)) AS lo_us,
  greatest(c.hi_us, coalesce(max(s.visit_end_us), c.hi_us)) AS hi_us
FROM changed c
LEFT JOIN core.sessions s ON s.person_no = c.person_no AND s.visit_start_us <= c.hi_us + $timeout_us AND s.visit_end_us >= c.lo_us - $timeout_us
GROUP BY c.person_no, c.lo_us, c.hi_us
