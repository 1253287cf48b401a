-- What stands for a whole school: the provisions of stage U, each reviewed by the school itself.

-- The place in the history of one provision at one school is `ordinal`, from 1; the last stands. `catalogue_version` is the one
-- that was in force. `evidence` is [{source, source_name, identifier, description}]. Append only.
CREATE TABLE universal_reviews (
    trust_id uuid NOT NULL,
    school_id uuid NOT NULL,
    provision_id text NOT NULL,
    ordinal integer NOT NULL,
    catalogue_version integer NOT NULL,
    status text NOT NULL CHECK (status IN ('in_place', 'partly', 'not_in_place')),
    comment text NOT NULL,
    evidence jsonb NOT NULL,
    reviewed_on date NOT NULL,
    next_review_on date,
    recorded_by_name text NOT NULL,
    recorded_by_position text NOT NULL,
    recorded_by_id text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, school_id, provision_id, ordinal),
    FOREIGN KEY (trust_id, school_id) REFERENCES schools,
    FOREIGN KEY (trust_id, catalogue_version, provision_id) REFERENCES provisions
);

ALTER TABLE universal_reviews ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON universal_reviews
    USING (trust_id = nullif(current_setting('app.trust_id', true), '')::uuid);

GRANT SELECT, INSERT ON universal_reviews TO graduated_response_service;
