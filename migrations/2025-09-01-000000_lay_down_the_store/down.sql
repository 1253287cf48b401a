-- The role stays: it belongs to the server, and another database of it may use it.
DROP VIEW pupil_actions;
DROP VIEW marks;
DROP TABLE
    action_entries, actions, episodes, transitions, pupil_stages, mark_revisions, first_entries, batches, registers,
    enrolments, pupil_identifiers, pupils, provisions, catalogues, policies, schools, feeds, trusts, attendance_codes;
