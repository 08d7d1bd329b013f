-- One row a (conversion, session) pair of the same person: the session began at or before the conversion and no more
-- than $longest_us before it. A touch after the conversion never counts, and of a touch before it what was known then:
-- a source that is named after the conversion is direct (0) for it.
SELECT
  c.conversion_id, c.person_id, c.conversion_us, s.session_key, s.start_us AS touch_us, s.tie_no,
  c.conversion_us - s.start_us AS age_us, CASE WHEN s.source_us <= c.conversion_us THEN s.source_key ELSE 0 END AS touch_key
FROM conversion_moments AS c
JOIN session_starts AS s
  ON s.person_id = c.person_id AND s.start_us <= c.conversion_us AND s.start_us >= c.conversion_us - $longest_us
