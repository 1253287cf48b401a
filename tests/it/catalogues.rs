//! Catalogues as a trust makes them its own.

use graduated_response::proto as pb;
use tonic::Code;

use crate::common::World;
use crate::common::world::{person, refused};

fn put(provision: pb::Provision) -> pb::ProvisionChange {
    pb::ProvisionChange {
        change: Some(pb::provision_change::Change::Put(provision)),
    }
}

fn retire(id: &str) -> pb::ProvisionChange {
    pb::ProvisionChange {
        change: Some(pb::provision_change::Change::Retire(id.into())),
    }
}

async fn create(world: &World, changes: Vec<pb::ProvisionChange>) -> Result<pb::Catalogue, tonic::Status> {
    let request = pb::CreateCatalogueRequest {
        trust_id: world.trust_id.clone(),
        title: "Ours".into(),
        changes,
        ..pb::CreateCatalogueRequest::default()
    };
    let answer = world.admin().create_catalogue(request).await?.into_inner();
    Ok(answer.catalogue.unwrap())
}

async fn in_force(world: &World) -> pb::Catalogue {
    let request = pb::GetCatalogueRequest {
        trust_id: world.trust_id.clone(),
        version: 0,
    };
    world
        .admin()
        .get_catalogue(request)
        .await
        .unwrap()
        .into_inner()
        .catalogue
        .unwrap()
}

async fn activate(world: &World, version: i32) {
    let request = pb::ActivateCatalogueRequest {
        trust_id: world.trust_id.clone(),
        version,
        activated_by: Some(person()),
    };
    world.admin().activate_catalogue(request).await.unwrap();
}

#[tokio::test]
async fn a_trust_adds_rewords_and_retires_provisions_for_the_episodes_to_come() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let before = world.pupil("before", &school).await;
    world.record_days(&before, "2025-09-01", "2025-10-10", "/", "O").await;
    let first = in_force(&world).await;
    assert_eq!(
        (first.version, first.provisions.len(), first.based_on_version),
        (1, 60, 0)
    );

    let reworded = pb::Provision {
        title: "Meet the family".into(),
        responsible_roles: vec![pb::ResponsibleRole::Dsl.into()],
        ..first
            .provisions
            .iter()
            .find(|provision| provision.provision_id == "1-02")
            .unwrap()
            .clone()
    };
    let added = pb::Provision {
        provision_id: "1-breakfast".into(),
        stage: pb::Stage::One.into(),
        title: "Offer the breakfast club".into(),
        kind: pb::ProvisionKind::Support.into(),
        condition: pb::ProvisionCondition::IfAppropriate.into(),
        responsible_roles: vec![pb::ResponsibleRole::SupportStaff.into()],
        ..pb::Provision::default()
    };
    let made = create(&world, vec![put(reworded.clone()), put(added.clone()), retire("1-03")])
        .await
        .unwrap();
    assert_eq!(
        (
            made.version,
            made.based_on_version,
            made.in_force,
            made.provisions.len()
        ),
        (2, 1, false, 60)
    );
    assert_eq!(in_force(&world).await.version, 1, "made, and not yet in force");
    activate(&world, 2).await;
    assert!(in_force(&world).await.in_force);

    let after = world.pupil("after", &school).await;
    world.record_days(&after, "2025-09-01", "2025-10-10", "/", "O").await;
    let actions = world.actions_of(&after).await;
    let find = |id: &str| actions.iter().find(|action| action.provision_id == id);
    assert_eq!(find("1-02").unwrap().title, "Meet the family");
    assert_eq!(
        find("1-02").unwrap().responsible_roles,
        [i32::from(pb::ResponsibleRole::Dsl)]
    );
    assert_eq!(find("1-breakfast").unwrap().state(), pb::ActionState::ToBeConsidered);
    assert!(find("1-03").is_none());
    // An episode that is under way keeps the catalogue with which it began.
    let actions = world.actions_of(&before).await;
    assert!(actions.iter().any(|action| action.provision_id == "1-03"));
    assert!(actions.iter().all(|action| action.provision_id != "1-breakfast"));
    // Back to the sixty.
    activate(&world, 1).await;
    assert_eq!(in_force(&world).await.version, 1);
}

#[tokio::test]
async fn a_change_that_makes_no_sense_is_refused_by_field() {
    let world = World::on("2025-10-10").await;
    let good = in_force(&world).await.provisions[25].clone();
    let with = |change: fn(&mut pb::Provision)| {
        let mut provision = good.clone();
        change(&mut provision);
        vec![put(provision)]
    };
    let cases = [
        (vec![], "changes", "WRONG_COUNT"),
        (vec![pb::ProvisionChange::default()], "changes[0]", "MISSING_CHANGE"),
        (vec![retire("9-99")], "changes[0].retire", "UNKNOWN_PROVISION"),
        (with(|it| it.stage = 0), "changes[0].put.stage", "UNKNOWN_VALUE"),
        (with(|it| it.kind = 99), "changes[0].put.kind", "UNKNOWN_VALUE"),
        (with(|it| it.title.clear()), "changes[0].put.title", "MISSING_TEXT"),
        (
            with(|it| it.responsible_roles.clear()),
            "changes[0].put.responsible_roles",
            "MISSING_ROLE",
        ),
        (
            with(|it| it.responsible_roles = vec![42]),
            "changes[0].put.responsible_roles[0]",
            "UNKNOWN_VALUE",
        ),
        (
            with(|it| it.review_days = -1),
            "changes[0].put.review_days",
            "OUT_OF_RANGE",
        ),
        (
            with(|it| it.provision_id = "a/b".into()),
            "changes[0].put.provision_id",
            "INVALID_PROVISION_ID",
        ),
    ];
    for (changes, field, reason) in cases {
        let found = refused(create(&world, changes).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
}
