-- A version of the catalogue is written once; which one is in force, and since when, is kept apart. Append only.
ALTER TABLE catalogues
    ADD COLUMN title text NOT NULL DEFAULT '',
    ADD COLUMN based_on integer,
    ADD COLUMN request_id uuid;
CREATE UNIQUE INDEX catalogues_of_request ON catalogues (trust_id, request_id) WHERE request_id IS NOT NULL;

CREATE TABLE catalogue_activations (
    trust_id uuid NOT NULL,
    ordinal integer NOT NULL,
    version integer NOT NULL,
    activated_at timestamptz NOT NULL,
    activated_by_name text NOT NULL,
    activated_by_position text NOT NULL,
    PRIMARY KEY (trust_id, ordinal),
    FOREIGN KEY (trust_id, version) REFERENCES catalogues
);
INSERT INTO catalogue_activations (trust_id, ordinal, version, activated_at, activated_by_name, activated_by_position)
SELECT trust_id, row_number() OVER (PARTITION BY trust_id ORDER BY activated_at, version), version, activated_at,
    'graduated-response', 'the service'
FROM catalogues
WHERE activated_at IS NOT NULL;

ALTER TABLE catalogue_activations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON catalogue_activations
    USING (trust_id = nullif(current_setting('app.trust_id', true), '')::uuid);
GRANT SELECT, INSERT ON catalogue_activations TO graduated_response_service;
