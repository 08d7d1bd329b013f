-- One row a (conversion, session) pair of the same person: the session began at or before the conversion and no more
-- than $longest_us before it. A touch after the conversion never counts.
SELECT
  c.conversion_id, c.person_id, c.conversion_us, s.session_key, s.start_us AS touch_us,
  c.conversion_us - s.start_us AS age_us, s.source_key
FROM conversion_moments AS c
JOIN session_starts AS s
  ON s.person_id = c.person_id AND s.start_us <= c.conversion_us AND s.start_us >= c.conversion_us - $longest_us
