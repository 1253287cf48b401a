-- What the version before does not know is kept in words.
UPDATE action_entries SET kind = 'note', text = 'plan: ' || details::text, details = NULL WHERE kind = 'plan';
DROP TABLE plan_reviews, plan_cycles, plans;
