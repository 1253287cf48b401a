//! The tables, as `migrations/` lays them down.
#![allow(missing_docs)]

diesel::table! { trusts (trust_id) {
    trust_id -> Uuid, name -> Text, version -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
    identity_version -> BigInt,
} }

diesel::table! { feeds (trust_id) {
    trust_id -> Uuid, position -> BigInt, action_position -> BigInt,
} }

diesel::table! { schools (trust_id, school_id) {
    trust_id -> Uuid, school_id -> Uuid, urn -> Text, name -> Text, phase -> SmallInt, laestab -> Nullable<Text>,
    session_minutes -> SmallInt, version -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
} }

diesel::table! { policies (trust_id, version) {
    trust_id -> Uuid, version -> Integer, settings -> Jsonb, created_at -> Timestamptz,
    activated_at -> Nullable<Timestamptz>, title -> Text, revision -> BigInt, updated_at -> Nullable<Timestamptz>,
} }

diesel::table! { policy_activations (trust_id, ordinal) {
    trust_id -> Uuid, ordinal -> Integer, school_id -> Nullable<Uuid>, version -> Nullable<Integer>,
    activated_at -> Timestamptz, activated_by_name -> Text, activated_by_position -> Text,
} }

diesel::table! { holds (trust_id, hold_id) {
    trust_id -> Uuid, pupil_id -> Uuid, hold_id -> Uuid, kind -> SmallInt, stage -> Nullable<SmallInt>,
    starts_on -> Date, ends_on -> Date, reason -> Text, created_by_name -> Text, created_by_position -> Text,
    created_at -> Timestamptz, request_id -> Nullable<Uuid>, ended_on -> Nullable<Date>, ended_reason -> Nullable<Text>,
    ended_by_name -> Nullable<Text>, ended_by_position -> Nullable<Text>, ended_at -> Nullable<Timestamptz>,
} }

diesel::table! { jobs (trust_id, job_id) {
    trust_id -> Uuid, job_id -> Uuid, kind -> Text, state -> Text, settings -> Jsonb, done -> BigInt, total -> BigInt,
    outcome -> Nullable<Jsonb>, failure -> Nullable<Text>, attempts -> Integer, requested_by_name -> Text,
    requested_by_position -> Text, request_id -> Nullable<Uuid>, created_at -> Timestamptz, updated_at -> Timestamptz,
    finished_at -> Nullable<Timestamptz>,
} }

diesel::table! { catalogues (trust_id, version) {
    trust_id -> Uuid, version -> Integer, created_at -> Timestamptz, activated_at -> Nullable<Timestamptz>,
    title -> Text, based_on -> Nullable<Integer>, request_id -> Nullable<Uuid>,
} }

diesel::table! { catalogue_activations (trust_id, ordinal) {
    trust_id -> Uuid, ordinal -> Integer, version -> Integer, activated_at -> Timestamptz, activated_by_name -> Text,
    activated_by_position -> Text,
} }

diesel::table! { provisions (trust_id, catalogue_version, provision_id) {
    trust_id -> Uuid, catalogue_version -> Integer, provision_id -> Text, ordinal -> SmallInt, stage -> SmallInt,
    title -> Text, guidance -> Text, subject -> Text, kind -> Text, condition -> Text,
    review_days -> Nullable<SmallInt>, responsible_roles -> Array<Text>,
} }

diesel::table! { pupils (trust_id, pupil_id) {
    trust_id -> Uuid, pupil_id -> Uuid, given_name -> Text, family_name -> Text, date_of_birth -> Nullable<Date>,
    year_group -> Nullable<SmallInt>, version -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
    merged_into -> Nullable<Uuid>, erased_at -> Nullable<Timestamptz>,
} }

diesel::table! { pupil_identifiers (trust_id, kind, source, value) {
    trust_id -> Uuid, kind -> SmallInt, source -> Text, value -> Text, pupil_id -> Uuid, is_current -> Bool,
    created_at -> Timestamptz,
} }

diesel::table! { enrolments (trust_id, enrolment_id) {
    trust_id -> Uuid, enrolment_id -> Uuid, pupil_id -> Uuid, school_id -> Uuid, kind -> SmallInt, start_date -> Date,
    end_date -> Nullable<Date>,
} }

diesel::table! { registers (trust_id, pupil_id, academic_year, enrolment_id) {
    trust_id -> Uuid, pupil_id -> Uuid, academic_year -> SmallInt, enrolment_id -> Uuid, school_id -> Uuid,
    attended -> SmallInt, possible -> SmallInt, unauthorised -> SmallInt, next_mark_on -> Nullable<Date>,
    marks -> Binary,
} }

diesel::table! { batches (trust_id, request_id) {
    trust_id -> Uuid, request_id -> Uuid, fingerprint -> Binary, answer -> Jsonb, recorded_at -> Timestamptz,
} }

diesel::table! { first_entries (trust_id, school_id, academic_year, request_id) {
    trust_id -> Uuid, school_id -> Uuid, academic_year -> SmallInt, request_id -> Uuid, recorded_at -> Timestamptz,
    runs -> Binary,
} }

diesel::table! { mark_revisions (trust_id, pupil_id, revision_id) {
    trust_id -> Uuid, pupil_id -> Uuid, revision_id -> Uuid, enrolment_id -> Uuid, academic_year -> SmallInt,
    session_index -> SmallInt, old_code -> SmallInt, new_code -> SmallInt, reason -> Text, corrected_by_name -> Text,
    corrected_by_position -> Text, recorded_at -> Timestamptz, request_id -> Uuid, school_id -> Nullable<Uuid>,
} }

diesel::table! { pupil_stages (trust_id, pupil_id) {
    trust_id -> Uuid, pupil_id -> Uuid, stage -> SmallInt, academic_year -> SmallInt, since -> Nullable<Date>,
    policy_version -> Integer, episode -> Integer, episode_open -> Bool, raised_to -> SmallInt,
    changed_at -> Nullable<Timestamptz>, next_review_on -> Nullable<Date>, judged_attended -> Nullable<Integer>,
    judged_possible -> Nullable<Integer>, judged_unauthorised -> Nullable<Integer>,
    judged_from -> Nullable<Date>, hold_id -> Nullable<Uuid>,
    fall_waits -> Bool, has_holds -> Bool, last_episode -> Integer,
} }

diesel::table! { transitions (trust_id, position) {
    trust_id -> Uuid, position -> BigInt, pupil_id -> Uuid, from_stage -> SmallInt, to_stage -> SmallInt,
    effective_on -> Date, recorded_at -> Timestamptz, cause -> Text, policy_version -> Integer,
    academic_year -> SmallInt, attended -> Integer, possible -> Integer, unauthorised -> Integer, episode -> Integer,
    request_id -> Nullable<Uuid>, retracted_to -> Nullable<SmallInt>, hold_id -> Nullable<Uuid>,
} }

diesel::table! { episodes (trust_id, pupil_id, episode) {
    trust_id -> Uuid, pupil_id -> Uuid, episode -> Integer, catalogue_version -> Integer, academic_year -> SmallInt,
    raised_at -> Array<Nullable<Timestamptz>>, opened_at -> Timestamptz, closed_at -> Nullable<Timestamptz>,
    retracted_at -> Array<Nullable<Timestamptz>>, started_on -> Nullable<Date>, policy_version -> Nullable<Integer>,
    laid_out -> Array<Nullable<Bool>>, raised_on -> Array<Nullable<Date>>,
} }

diesel::table! { actions (trust_id, pupil_id, episode, provision_id) {
    trust_id -> Uuid, pupil_id -> Uuid, episode -> Integer, provision_id -> Text, state -> SmallInt, version -> BigInt,
    updated_at -> Timestamptz, academic_year -> SmallInt, raised_on -> Date, due_on -> Nullable<Date>, due_moved -> Bool,
    assignee_id -> Nullable<Text>, assignee_name -> Nullable<Text>, begun_at -> Nullable<Timestamptz>, list_on -> Date,
    stage -> SmallInt,
} }

diesel::table! { action_entries (trust_id, pupil_id, episode, provision_id, ordinal) {
    trust_id -> Uuid, pupil_id -> Uuid, episode -> Integer, provision_id -> Text, ordinal -> Integer, kind -> Text,
    from_state -> Nullable<SmallInt>, to_state -> Nullable<SmallInt>, text -> Text, recorded_by_name -> Text,
    recorded_by_position -> Text, recorded_at -> Timestamptz, request_id -> Nullable<Uuid>,
    details -> Nullable<Jsonb>, recorded_by_id -> Text, position -> Nullable<BigInt>,
} }

diesel::table! { plans (trust_id, plan_id) {
    trust_id -> Uuid, plan_id -> Uuid, pupil_id -> Uuid, episode -> Integer, provision_id -> Nullable<Text>,
    cycle -> Integer, closed -> Bool, started_on -> Date, next_review_on -> Nullable<Date>, ended_on -> Nullable<Date>,
    list_on -> Date, end_reason -> Nullable<Text>, end_comment -> Nullable<Text>, ended_by_name -> Nullable<Text>,
    ended_by_position -> Nullable<Text>, ended_by_id -> Nullable<Text>, version -> BigInt, created_at -> Timestamptz,
    updated_at -> Timestamptz,
} }

diesel::table! { plan_cycles (trust_id, plan_id, cycle) {
    trust_id -> Uuid, plan_id -> Uuid, cycle -> Integer, aims -> Jsonb, steps -> Text, agreed_by -> Jsonb,
    starts_on -> Date, review_on -> Date, recorded_by_name -> Text, recorded_by_position -> Text,
    recorded_by_id -> Text, recorded_at -> Timestamptz,
} }

diesel::table! { plan_reviews (trust_id, plan_id, cycle) {
    trust_id -> Uuid, plan_id -> Uuid, cycle -> Integer, found -> Text, decision -> Text, comment -> Text,
    attendees -> Jsonb, reviewed_on -> Date, recorded_by_name -> Text, recorded_by_position -> Text,
    recorded_by_id -> Text, recorded_at -> Timestamptz,
} }

diesel::table! { universal_reviews (trust_id, school_id, provision_id, ordinal) {
    trust_id -> Uuid, school_id -> Uuid, provision_id -> Text, ordinal -> Integer, catalogue_version -> Integer,
    status -> Text, comment -> Text, evidence -> Jsonb, reviewed_on -> Date, next_review_on -> Nullable<Date>,
    recorded_by_name -> Text, recorded_by_position -> Text, recorded_by_id -> Text, recorded_at -> Timestamptz,
} }

diesel::table! { retention_rules (trust_id, version) {
    trust_id -> Uuid, version -> BigInt, registers_years -> SmallInt, actions_years -> SmallInt, history_years -> SmallInt,
    pupils_years -> SmallInt, requests_years -> SmallInt, reason -> Text, updated_by_name -> Text,
    updated_by_position -> Text, updated_at -> Timestamptz,
} }

diesel::table! { legal_holds (trust_id, legal_hold_id) {
    trust_id -> Uuid, legal_hold_id -> Uuid, pupil_id -> Uuid, reason -> Text, placed_by_name -> Text,
    placed_by_position -> Text, placed_at -> Timestamptz, request_id -> Nullable<Uuid>,
} }

diesel::table! { legal_hold_lifts (trust_id, legal_hold_id) {
    trust_id -> Uuid, legal_hold_id -> Uuid, reason -> Text, lifted_by_name -> Text, lifted_by_position -> Text,
    lifted_at -> Timestamptz,
} }

diesel::table! { erasures (trust_id, erasure_id) {
    trust_id -> Uuid, erasure_id -> Uuid, pupil_id -> Uuid, scope -> Text, reason -> Text, erased_by_name -> Text,
    erased_by_position -> Text, erased_at -> Timestamptz, request_id -> Nullable<Uuid>, counts -> Jsonb,
} }

diesel::table! { school_days (trust_id, school_id, academic_year) {
    trust_id -> Uuid, school_id -> Uuid, academic_year -> SmallInt, days -> Binary, terms -> Jsonb, notes -> Jsonb,
    version -> BigInt, updated_at -> Timestamptz,
} }

diesel::table! { school_sessions (trust_id, school_id, academic_year) {
    trust_id -> Uuid, school_id -> Uuid, academic_year -> SmallInt, marked -> Binary,
} }

diesel::table! { threshold_events (trust_id, event_id) {
    trust_id -> Uuid, event_id -> Uuid, pupil_id -> Uuid, kind -> SmallInt, academic_year -> SmallInt,
    proved_by -> Integer, sessions -> Array<Integer>, raised_at -> Timestamptz, request_id -> Nullable<Uuid>,
    cleared_at -> Nullable<Timestamptz>, cleared_request_id -> Nullable<Uuid>,
} }

diesel::table! { penalty_notices (trust_id, notice_id) {
    trust_id -> Uuid, notice_id -> Uuid, pupil_id -> Uuid, issued_on -> Date, reference -> Text,
    sessions -> Array<Integer>, recorded_by_name -> Text, recorded_by_position -> Text, recorded_at -> Timestamptz,
    request_id -> Nullable<Uuid>, cancelled_reason -> Nullable<Text>, cancelled_by_name -> Nullable<Text>,
    cancelled_by_position -> Nullable<Text>, cancelled_at -> Nullable<Timestamptz>,
} }

diesel::table! { pupil_changes (trust_id, pupil_id, change_id) {
    trust_id -> Uuid, pupil_id -> Uuid, change_id -> Uuid, kind -> Text, details -> Jsonb, reason -> Text,
    changed_by_name -> Text, changed_by_position -> Text, recorded_at -> Timestamptz, request_id -> Uuid,
} }

diesel::table! { pupil_merges (trust_id, merge_id) {
    trust_id -> Uuid, merge_id -> Uuid, survivor_id -> Uuid, merged_id -> Uuid, moved -> Jsonb, merged_at -> Timestamptz,
    unmerged_at -> Nullable<Timestamptz>,
} }

diesel::table! { reconciliations (trust_id, reconciliation_id) {
    trust_id -> Uuid, reconciliation_id -> Uuid, school_id -> Uuid, from_date -> Date, to_date -> Date, state -> Text,
    limits -> Jsonb, content -> Binary, plan -> Jsonb, plan_number -> Integer, reason -> Text,
    requested_by_name -> Text, requested_by_position -> Text, request_id -> Uuid, decided_by_name -> Nullable<Text>,
    decided_by_position -> Nullable<Text>, decision_reason -> Nullable<Text>, version -> BigInt,
    created_at -> Timestamptz, updated_at -> Timestamptz,
} }

diesel::table! { reconciliation_pupils (trust_id, reconciliation_id, plan_number, pupil_id) {
    trust_id -> Uuid, reconciliation_id -> Uuid, plan_number -> Integer, pupil_id -> Uuid, marks_new -> Integer,
    marks_changed -> Integer, marks_unchanged -> Integer, removed -> Binary, from_stage -> Nullable<SmallInt>,
    to_stage -> Nullable<SmallInt>, missing -> Bool,
} }

diesel::allow_tables_to_appear_in_same_query!(
    pupil_stages,
    registers,
    enrolments,
    pupils,
    pupil_identifiers,
    schools,
    policies,
    policy_activations,
    holds,
    threshold_events,
    trusts,
    transitions,
);
diesel::allow_tables_to_appear_in_same_query!(trusts, batches);
