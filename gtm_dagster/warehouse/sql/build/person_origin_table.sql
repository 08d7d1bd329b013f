-- The rows of meta.person_origin for the first sessions found.
SELECT o.*, CAST($local_time AS DATE) AS first_day FROM ($origins) o
