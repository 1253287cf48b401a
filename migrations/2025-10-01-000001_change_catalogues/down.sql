DROP TABLE catalogue_activations;
ALTER TABLE catalogues DROP COLUMN title, DROP COLUMN based_on, DROP COLUMN request_id;
