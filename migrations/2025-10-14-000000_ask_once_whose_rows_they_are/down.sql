CREATE INDEX pupil_stages_by_change ON pupil_stages (trust_id, changed_at);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOR tenant_table IN
        SELECT tablename FROM pg_policies WHERE schemaname = current_schema() AND policyname = 'tenant'
    LOOP
        EXECUTE format(
            'ALTER POLICY tenant ON %I USING (trust_id = nullif(current_setting(''app.trust_id'', true), '''')::uuid)',
            tenant_table
        );
    END LOOP;
END
$$;
