-- Accounts by stage, source and day of their first session.
SELECT o.source, o.medium, o.campaign, coalesce(o.channel, '(none)') AS channel, o.first_day AS cohort_day, s.stage, s.stage_no, count(*) AS accounts
FROM ($stages) a
JOIN funnel_names s ON s.stage_no <= a.last_stage
LEFT JOIN ($origins) o ON o.account_id = a.account_id
GROUP BY ALL
