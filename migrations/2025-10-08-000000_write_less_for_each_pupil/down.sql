ALTER TABLE threshold_events ADD CONSTRAINT threshold_events_trust_id_pupil_id_fkey
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils;
ALTER TABLE episodes ADD CONSTRAINT episodes_trust_id_pupil_id_fkey
    FOREIGN KEY (trust_id, pupil_id) REFERENCES pupils;
ALTER TABLE pupil_stages RESET (fillfactor);
