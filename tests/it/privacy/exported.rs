//! Subject access: the document is whole.

use std::collections::BTreeSet;

use graduated_response::store::subject_data::{PACKED, SECTIONS};
use tonic::Code;

use super::{Past, UPN};
use crate::common::refused;
use crate::common::world::{by_id, pb};

/// Tables whose rows are about no pupil though a pupil's identifier may stand in them: none so far.
const ABOUT_NO_PUPIL: &[&str] = &[];

#[tokio::test]
async fn every_table_that_names_a_pupil_is_in_the_document() {
    let past = Past::of_2016().await;
    let named = past
        .world
        .sql()
        .await
        .query(
            "SELECT DISTINCT table_name::text FROM information_schema.columns
             JOIN information_schema.tables USING (table_schema, table_name)
             WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
                 AND (column_name LIKE '%pupil_id' OR column_name IN (
                     'survivor_id', 'merged_id', 'plan_id', 'enrolment_id', 'legal_hold_id'))",
            &[],
        )
        .await
        .unwrap();
    let named: BTreeSet<String> = named.iter().map(|row| row.get(0)).collect();
    assert!(named.len() >= 20, "{named:?}");
    let sections = SECTIONS.iter().flat_map(|section| section.tables);
    let covered: BTreeSet<&str> = sections
        .chain(PACKED.iter().flat_map(|(_, tables)| *tables))
        .copied()
        .collect();
    let missing: Vec<&String> = named
        .iter()
        .filter(|table| !covered.contains(table.as_str()) && !ABOUT_NO_PUPIL.contains(&table.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "give them a section, here and in docs/subject-access.md: {missing:?}"
    );
    let page = include_str!("../../../docs/subject-access.md");
    for name in SECTIONS
        .iter()
        .map(|section| section.name)
        .chain(PACKED.iter().map(|(name, _)| *name))
    {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

#[tokio::test]
async fn the_document_has_every_mark_with_its_code_and_every_word_about_the_pupil_and_nothing_of_another() {
    let past = Past::of_2016().await;
    past.hold_by_law(&past.left).await;
    let _x =
        tracing_subscriber::util::SubscriberInitExt::set_default(tracing_subscriber::fmt().with_test_writer().finish()); //X
    let (text, document) = past.export(&past.left).await;
    assert_eq!(document["format"], "graduated-response/subject-data");
    assert_eq!(document["version"], 1);
    let sections = &document["sections"];
    let of = |name: &str| sections[name].as_array().unwrap_or_else(|| panic!("{name}"));
    assert_eq!(sections.as_object().unwrap().len(), SECTIONS.len() + PACKED.len());
    assert_eq!(of("marks").len(), 40);
    assert_eq!(
        (&of("marks")[0]["date"], &of("marks")[0]["half"]),
        (&"2016-09-05".into(), &"AM".into())
    );
    assert_eq!(
        (&of("marks")[0]["code"], &of("marks")[1]["code"]),
        (&"I".into(), &"O".into())
    );
    let revision = &of("mark_revisions")[0];
    assert_eq!(
        (&revision["old_code"], &revision["new_code"]),
        (&"O".into(), &"I".into())
    );
    assert_eq!(revision["reason"], "checked with the tutor");
    assert_eq!(of("first_entries")[0]["first_session"]["date"], "2016-09-05");
    for name in [
        "pupils",
        "enrolments",
        "registers",
        "transitions",
        "episodes",
        "actions",
        "holds",
        "legal_holds",
    ] {
        assert!(!of(name).is_empty(), "{name}");
    }
    for word in [
        "Wilhelmina",
        "Zephyrson",
        UPN,
        "2004-03-04",
        "afraid of the bus",
        "agreed with the family",
        "a claim",
    ] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains(&past.stays));
}

#[tokio::test]
async fn the_document_of_nobody_is_not_found() {
    let past = Past::of_2016().await;
    let request = pb::ExportSubjectDataRequest {
        trust_id: past.world.trust_id.clone(),
        pupil: Some(by_id(&past.world.trust_id)),
    };
    let answer = past.world.admin().export_subject_data(request).await.map(|_| ());
    assert_eq!(refused(answer).0, Code::NotFound);
}
