-- As a sub-select, the transaction's trust is read and parsed once a statement, and not once a row.
DO $$
DECLARE
    tenant_table text;
BEGIN
    FOR tenant_table IN
        SELECT tablename FROM pg_policies WHERE schemaname = current_schema() AND policyname = 'tenant'
    LOOP
        EXECUTE format(
            'ALTER POLICY tenant ON %I USING (trust_id = (SELECT nullif(current_setting(''app.trust_id'', true), '''')::uuid))',
            tenant_table
        );
    END LOOP;
END
$$;

-- Whose stage changed since a time is told by the transitions of that time.
DROP INDEX pupil_stages_by_change;
