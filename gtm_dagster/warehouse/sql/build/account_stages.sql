-- The stages each account reached through any of its persons, each while the person belonged to it; who reached a stage
-- reached those before, maybe in another account.
SELECT a.account_id, max(p.stage_no) AS last_stage
FROM meta.funnel_persons p
JOIN core.accounts a ON a.person_no = p.person_no AND (a.from_us IS NULL OR p.reached_us >= a.from_us)
  AND (a.until_us IS NULL OR p.reached_us < a.until_us)
GROUP BY 1
