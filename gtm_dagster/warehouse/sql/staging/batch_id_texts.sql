-- User and anonymous ids of the batch, each once.
SELECT anonymous_id AS id FROM batch WHERE verdict = 'accepted' AND anonymous_id IS NOT NULL GROUP BY 1
UNION
SELECT user_id FROM batch WHERE verdict = 'accepted' AND user_id IS NOT NULL GROUP BY 1
