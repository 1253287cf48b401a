//! What the tables held before they came to hold more, and after.

use graduated_response::store::migrations;
use tokio_postgres::Client;

use crate::common::database::{connect, empty};

/// The migration that lays actions out.
const WORK_ACTIONS: &str = "2025-10-09-000000_work_actions";

/// A trust with a policy and a catalogue of three provisions for each of three stages, of which the third is conditional; and
/// two pupils in an episode, whose third stage turned out never to have been reached. The first one's actions were worked on.
const BEFORE: &str = "
    INSERT INTO trusts (trust_id, name, created_at, updated_at) VALUES (md5('t')::uuid, 't', now(), now());
    INSERT INTO feeds (trust_id, position) SELECT trust_id, 0 FROM trusts;
    INSERT INTO policies (trust_id, version, settings, created_at, activated_at)
        SELECT trust_id, 1, '{\"days_to_due\": {\"by_stage\": [14, null, 7, null, null], \"by_provision\": {\"1-01\": 3}}}',
            now(), now()
        FROM trusts;
    INSERT INTO catalogues (trust_id, version, created_at, activated_at) SELECT trust_id, 1, now(), now() FROM trusts;
    INSERT INTO provisions
        SELECT trust_id, 1, s || '-0' || n, s * 10 + n, s, 'title', 'guidance', 'pupil', 'record',
            CASE WHEN n = 3 THEN 'medical_need' ELSE 'always' END, NULL, '{dsl}'
        FROM trusts, generate_series(1, 3) AS s, generate_series(1, 3) AS n;
    INSERT INTO pupils (trust_id, pupil_id, given_name, family_name, created_at, updated_at)
        SELECT trust_id, md5('p' || n)::uuid, '', '', now(), now() FROM trusts, generate_series(1, 2) AS n;
    INSERT INTO pupil_stages (trust_id, pupil_id, stage, academic_year, policy_version, episode, episode_open, raised_to)
        SELECT trust_id, pupil_id, 1, 2025, 1, 1, true, 3 FROM pupils;
    INSERT INTO episodes (trust_id, pupil_id, episode, catalogue_version, academic_year, raised_at, opened_at, retracted_at,
            policy_version)
        SELECT trust_id, pupil_id, 1, 1, 2025,
            array_fill(timestamptz '2025-10-01 23:30+00', ARRAY[3]) || ARRAY[NULL, NULL]::timestamptz[], '2025-10-01',
            ARRAY[NULL, NULL, timestamptz '2025-10-05'], CASE WHEN pupil_id = md5('p1')::uuid THEN 1 END
        FROM pupils;
    INSERT INTO actions (trust_id, pupil_id, episode, provision_id, state, version, updated_at)
        SELECT trust_id, md5('p1')::uuid, 1, provision_id, state, a.version, '2025-10-03'
        FROM trusts, (VALUES ('1-01', 3, 1), ('1-02', 4, 2), ('1-03', 2, 1), ('3-01', 7, 1), ('3-02', 3, 1))
            AS a (provision_id, state, version);
    INSERT INTO action_entries (trust_id, pupil_id, episode, provision_id, ordinal, kind, from_state, to_state, text,
            recorded_by_name, recorded_by_position, recorded_at)
        SELECT trust_id, md5('p1')::uuid, 1, provision_id, ordinal, kind, from_state, to_state, '', 'n', 'p', '2025-10-03'
        FROM trusts, (VALUES
                ('1-01', 1, 'state_change', 2, 3), ('1-02', 1, 'state_change', 2, 3), ('1-02', 2, 'state_change', 3, 4),
                ('1-03', 1, 'state_change', 1, 2), ('3-01', 1, 'note', NULL, NULL), ('3-02', 1, 'state_change', 2, 3)
            ) AS e (provision_id, ordinal, kind, from_state, to_state)";

async fn lines(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What both versions show of actions.
async fn shown(client: &Client) -> Vec<String> {
    let query = "SELECT concat_ws(' ', pupil_id, provision_id, state, version, raised_at, beyond_stage, never_reached)
                 FROM pupil_actions ORDER BY pupil_id, provision_id";
    lines(client, query).await
}

#[tokio::test]
async fn actions_that_were_worked_on_before_are_laid_out_with_their_dates_and_stay_as_they_were() {
    let url = empty().await;
    migrations::up(&url).await.unwrap();
    while migrations::down(&url)
        .await
        .unwrap()
        .is_some_and(|name| name != WORK_ACTIONS)
    {}
    connect(&url).await.unwrap().batch_execute(BEFORE).await.unwrap();
    let client = connect(&url).await.unwrap();
    let before = shown(&client).await;
    assert_eq!(before.len(), 18);
    migrations::up(&url).await.unwrap();
    // Statements that were planned for the view before are planned anew on a new connection.
    let client = connect(&url).await.unwrap();
    assert_eq!(shown(&client).await, before);
    let rows =
        "SELECT concat_ws(' ', provision_id, state, version, stage, raised_on, due_on, list_on, begun_at IS NOT NULL)
                FROM actions ORDER BY pupil_id, provision_id";
    insta::assert_snapshot!(lines(&client, rows).await.join("\n"), @r"
    1-01 3 1 1 2025-10-02 2025-10-05 2025-10-05 t
    1-02 4 2 1 2025-10-02 2025-10-16 2025-10-16 t
    1-03 2 1 1 2025-10-02 2025-10-16 2025-10-16 f
    3-01 2 1 3 2025-10-02 2025-10-09 2025-10-09 f
    3-02 3 1 3 2025-10-02 2025-10-09 2025-10-09 t
    3-03 1 0 3 2025-10-02 2025-10-09 2025-10-09 f
    ");
    let episodes = "SELECT concat_ws(' ', laid_out, policy_version) FROM episodes ORDER BY pupil_id = md5('p1')::uuid";
    assert_eq!(lines(&client, episodes).await, ["{} 0", "{t,NULL,t,NULL,NULL} 1"]);
    // They are in the feed, in the order in which they were recorded.
    let feed = "SELECT concat_ws(' ', action_position, count(e.position), min(e.position), max(e.position))
                FROM feeds JOIN action_entries AS e USING (trust_id) GROUP BY action_position";
    assert_eq!(lines(&client, feed).await, ["6 6 1 6"]);
    // And back.
    while migrations::down(&url)
        .await
        .unwrap()
        .is_some_and(|name| name != WORK_ACTIONS)
    {}
    let client = connect(&url).await.unwrap();
    assert_eq!(shown(&client).await, before);
}
