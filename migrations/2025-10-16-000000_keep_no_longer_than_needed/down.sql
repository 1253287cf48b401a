DROP FUNCTION remove_expired(uuid[], date), remove_expired_of_trust(date, integer),
    erase_pupil(uuid, text, uuid, text, text, text, timestamptz, uuid), kept_until(uuid, timestamptz);
DROP FUNCTION without_words(jsonb), under_legal_hold(uuid, uuid[]), ever_merged(uuid, uuid[]), with_merged(uuid, uuid[]),
    retention_years(text), retention_day(date), academic_year_of(date);
DROP TABLE erasures, legal_hold_lifts, legal_holds, retention_rules;
ALTER TABLE pupils DROP COLUMN erased_at;
