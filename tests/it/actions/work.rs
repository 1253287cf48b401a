//! Work that is recorded on an action, of every kind.

use super::*;
use pb::add_action_entry_request::Entry as Asked;

fn contact() -> pb::Contact {
    pb::Contact {
        party: pb::Party::Parent.into(),
        person_name: "Ms Iqbal".into(),
        method: pb::ContactMethod::Telephone.into(),
        outcome: pb::ContactOutcome::MessageLeft.into(),
        summary: "Asked to ring back.".into(),
        contacted_on: Some(pb_date("2025-11-26")),
    }
}

fn meeting() -> pb::Meeting {
    let attendee = |party: pb::Party, name: &str| pb::Attendee {
        party: party.into(),
        person_name: name.into(),
    };
    pb::Meeting {
        attendees: vec![attendee(pb::Party::Parent, "Ms Iqbal"), attendee(pb::Party::Staff, "")],
        summary: "A plan for mornings.".into(),
        held_on: Some(pb_date(TODAY)),
    }
}

fn letter() -> pb::Letter {
    pb::Letter {
        recipient: "the parents".into(),
        subject: "Attendance in November".into(),
        reference: "letters/2025/118".into(),
        sent_on: Some(pb_date("2025-11-27")),
    }
}

fn referral(status: pb::ReferralStatus, sent_in_entry: i32) -> pb::Referral {
    pb::Referral {
        agency: if sent_in_entry == 0 {
            pb::ReferralAgency::Camhs.into()
        } else {
            pb::ReferralAgency::Unspecified.into()
        },
        agency_name: String::new(),
        status: status.into(),
        sent_in_entry,
        reference: "C-4411".into(),
        comment: "Anxiety before school.".into(),
        happened_on: Some(pb_date(TODAY)),
    }
}

fn evidence() -> pb::Evidence {
    pb::Evidence {
        source: pb::EvidenceSource::Cpoms.into(),
        source_name: String::new(),
        identifier: "incident/90210".into(),
        description: "What was said at home.".into(),
    }
}

fn review() -> pb::Review {
    pb::Review {
        found: "Two mornings missed in four weeks.".into(),
        decided: "Go on as agreed.".into(),
        reviewed_on: Some(pb_date("2025-11-27")),
        next_review_on: Some(pb_date("2025-12-12")),
    }
}

fn kept(entry: Asked) -> pb::action_entry::Entry {
    use pb::action_entry::Entry as Kept;
    match entry {
        Asked::Note(note) => Kept::Note(note),
        Asked::Contact(contact) => Kept::Contact(contact),
        Asked::Meeting(meeting) => Kept::Meeting(meeting),
        Asked::Letter(letter) => Kept::Letter(letter),
        Asked::Referral(referral) => Kept::Referral(referral),
        Asked::Evidence(evidence) => Kept::Evidence(evidence),
        Asked::Review(review) => Kept::Review(review),
    }
}

#[tokio::test]
async fn work_of_every_kind_begins_an_action_and_is_read_back_as_it_was_recorded() {
    let (world, pupil) = world_with_pupil_at(5).await;
    let actions = world.actions_of(&pupil).await;
    let kinds = [
        Asked::Note(pb::Note {
            text: "Rang home.".into(),
        }),
        Asked::Contact(contact()),
        Asked::Meeting(meeting()),
        Asked::Letter(letter()),
        Asked::Referral(referral(pb::ReferralStatus::Sent, 0)),
        Asked::Evidence(evidence()),
        Asked::Review(review()),
    ];
    for (action, asked) in actions.iter().zip(kinds) {
        let added = add(&world, record(&world, &action.name, asked.clone())).await.unwrap();
        let begun = added.action.unwrap();
        assert_eq!(begun.state(), InProgress, "{asked:?}");
        assert!(begun.begun_at.is_some());
        let entry = added.entry.unwrap();
        assert_eq!((entry.ordinal, entry.entry.as_ref()), (2, Some(&kept(asked.clone()))));
        let entries = log(&world, &action.name).await;
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1], entry);
        assert!(matches!(
            entries[0].entry,
            Some(pb::action_entry::Entry::StateChange(pb::StateChange {
                to_state: 3,
                ..
            }))
        ));
        // More work leaves it in progress.
        let more = add(&world, record(&world, &action.name, asked)).await.unwrap();
        assert_eq!(more.entry.unwrap().ordinal, 3);
        assert_eq!(more.action.unwrap().begun_at, begun.begun_at);
    }
}

#[tokio::test]
async fn what_is_recorded_without_a_day_is_of_today() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let name = &world.actions_of(&pupil).await[0].name;
    let undated = pb::Contact {
        contacted_on: None,
        ..contact()
    };
    let added = add(&world, record(&world, name, Asked::Contact(undated)))
        .await
        .unwrap();
    match added.entry.unwrap().entry.unwrap() {
        pb::action_entry::Entry::Contact(contact) => assert_eq!(contact.contacted_on, Some(pb_date(TODAY))),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_referral_goes_from_sent_to_accepted_to_closed_and_nowhere_else() {
    use pb::ReferralStatus::{Accepted, Closed, Declined, Sent};
    let (world, pupil) = world_with_pupil_at(4).await;
    let name = &world.actions_of(&pupil).await[0].name;
    let go = async |status, sent_in| {
        let asked = record(&world, name, Asked::Referral(referral(status, sent_in)));
        add(&world, asked).await
    };
    let sent = go(Sent, 0).await.unwrap().entry.unwrap().ordinal;
    let accepted = go(Accepted, sent).await.unwrap().entry.unwrap();
    match accepted.entry.unwrap() {
        pb::action_entry::Entry::Referral(referral) => {
            assert_eq!(
                (referral.agency(), referral.sent_in_entry),
                (pb::ReferralAgency::Camhs, sent)
            );
        }
        other => panic!("{other:?}"),
    }
    let status = go(Declined, sent).await.unwrap_err();
    assert_eq!(
        status.message(),
        "a referral that is accepted cannot become declined; from there it can become: closed"
    );
    assert_eq!(
        refused(Err::<(), _>(status)),
        (Code::FailedPrecondition, "ILLEGAL_REFERRAL".into(), vec![])
    );
    go(Closed, sent).await.unwrap();
    let status = go(Closed, sent).await.unwrap_err();
    assert_eq!(
        status.message(),
        "a referral that is closed cannot become closed: it is over; send another one"
    );
    // Another one has its own way.
    let other = go(Sent, 0).await.unwrap().entry.unwrap().ordinal;
    go(Declined, other).await.unwrap();
    let field = "referral.sent_in_entry";
    assert_eq!(refused(go(Accepted, 99).await), invalid("UNKNOWN_REFERRAL", field));
    assert_eq!(refused(go(Accepted, 0).await), invalid("MISSING_REFERRAL", field));
    assert_eq!(refused(go(Sent, other).await), invalid("REFERRAL_IS_NEW", field));
    assert_eq!(log(&world, name).await.len(), 6);
}

#[tokio::test]
async fn work_that_is_not_whole_is_refused_by_field_and_begins_nothing() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let action = world.actions_of(&pupil).await[0].clone();
    let tomorrow = Some(pb_date("2025-11-29"));
    let long = |length: usize| "é".repeat(length + 1);
    let mut cases: Vec<(Asked, &str, &str)> = Vec::new();
    let mut of_contact = |reason, field, change: &dyn Fn(&mut pb::Contact)| {
        let mut asked = contact();
        change(&mut asked);
        cases.push((Asked::Contact(asked), reason, field));
    };
    of_contact("UNKNOWN_PARTY", "contact.party", &|asked| asked.party = 0);
    of_contact("UNKNOWN_PARTY", "contact.party", &|asked| asked.party = 8);
    of_contact("UNKNOWN_METHOD", "contact.method", &|asked| asked.method = -1);
    of_contact("UNKNOWN_OUTCOME", "contact.outcome", &|asked| asked.outcome = 5);
    of_contact("TEXT_TOO_LONG", "contact.person_name", &|asked| {
        asked.person_name = long(200)
    });
    of_contact("TEXT_TOO_LONG", "contact.summary", &|asked| asked.summary = long(4000));
    of_contact("INVALID_TEXT", "contact.summary", &|asked| {
        asked.summary = "a\0b".into()
    });
    of_contact("IN_FUTURE", "contact.contacted_on", &|asked| {
        asked.contacted_on = tomorrow
    });
    let mut of_meeting = |reason, field, change: &dyn Fn(&mut pb::Meeting)| {
        let mut asked = meeting();
        change(&mut asked);
        cases.push((Asked::Meeting(asked), reason, field));
    };
    of_meeting("MISSING_ATTENDEES", "meeting.attendees", &|asked| {
        asked.attendees.clear()
    });
    of_meeting("TOO_MANY", "meeting.attendees", &|asked| {
        asked.attendees = vec![asked.attendees[0].clone(); 51];
    });
    of_meeting("UNKNOWN_PARTY", "meeting.attendees[1].party", &|asked| {
        asked.attendees[1].party = 0
    });
    of_meeting("TEXT_TOO_LONG", "meeting.attendees[0].person_name", &|asked| {
        asked.attendees[0].person_name = long(200);
    });
    of_meeting("MISSING_TEXT", "meeting.summary", &|asked| asked.summary.clear());
    of_meeting("IN_FUTURE", "meeting.held_on", &|asked| asked.held_on = tomorrow);
    let mut of_letter = |reason, field, change: &dyn Fn(&mut pb::Letter)| {
        let mut asked = letter();
        change(&mut asked);
        cases.push((Asked::Letter(asked), reason, field));
    };
    of_letter("MISSING_TEXT", "letter.recipient", &|asked| asked.recipient.clear());
    of_letter("TEXT_TOO_LONG", "letter.subject", &|asked| asked.subject = long(200));
    of_letter("TEXT_TOO_LONG", "letter.reference", &|asked| {
        asked.reference = long(500)
    });
    of_letter("IN_FUTURE", "letter.sent_on", &|asked| asked.sent_on = tomorrow);
    let mut of_referral = |reason, field, change: &dyn Fn(&mut pb::Referral)| {
        let mut asked = referral(pb::ReferralStatus::Sent, 0);
        change(&mut asked);
        cases.push((Asked::Referral(asked), reason, field));
    };
    of_referral("UNKNOWN_AGENCY", "referral.agency", &|asked| asked.agency = 0);
    of_referral("UNKNOWN_REFERRAL_STATUS", "referral.status", &|asked| asked.status = 0);
    of_referral("MISSING_TEXT", "referral.agency_name", &|asked| {
        asked.agency = pb::ReferralAgency::Other.into();
    });
    of_referral("TEXT_TOO_LONG", "referral.comment", &|asked| asked.comment = long(4000));
    of_referral("IN_FUTURE", "referral.happened_on", &|asked| {
        asked.happened_on = tomorrow
    });
    let mut of_evidence = |reason, field, change: &dyn Fn(&mut pb::Evidence)| {
        let mut asked = evidence();
        change(&mut asked);
        cases.push((Asked::Evidence(asked), reason, field));
    };
    of_evidence("UNKNOWN_EVIDENCE_SOURCE", "evidence.source", &|asked| asked.source = 6);
    of_evidence("MISSING_TEXT", "evidence.source_name", &|asked| {
        asked.source = pb::EvidenceSource::Other.into();
    });
    of_evidence("MISSING_TEXT", "evidence.identifier", &|asked| asked.identifier.clear());
    // A reference is short: whoever sends the thing itself is told so.
    of_evidence("TEXT_TOO_LONG", "evidence.identifier", &|asked| {
        asked.identifier = long(500)
    });
    let mut of_review = |reason, field, change: &dyn Fn(&mut pb::Review)| {
        let mut asked = review();
        change(&mut asked);
        cases.push((Asked::Review(asked), reason, field));
    };
    of_review("MISSING_TEXT", "review.found", &|asked| asked.found.clear());
    of_review("TEXT_TOO_LONG", "review.decided", &|asked| asked.decided = long(4000));
    of_review("IN_FUTURE", "review.reviewed_on", &|asked| asked.reviewed_on = tomorrow);
    of_review("IN_PAST", "review.next_review_on", &|asked| {
        asked.next_review_on = Some(pb_date("2025-11-27"));
    });
    of_review("NOT_AFTER_REVIEW", "review.next_review_on", &|asked| {
        asked.reviewed_on = None;
        asked.next_review_on = Some(pb_date(TODAY));
    });
    for (asked, reason, field) in cases {
        let found = refused(add(&world, record(&world, &action.name, asked.clone())).await);
        assert_eq!(found, invalid(reason, field), "{asked:?}");
    }
    assert_eq!(get(&world, &world.trust_id, &action.name).await.unwrap(), action);
    assert_eq!(log(&world, &action.name).await, []);
}

#[tokio::test]
async fn a_retry_of_recorded_work_gets_the_first_answer_and_adds_nothing() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let name = &world.actions_of(&pupil).await[0].name;
    let asked = pb::AddActionEntryRequest {
        request_id: Uuid::new_v4().to_string(),
        ..record(&world, name, Asked::Meeting(meeting()))
    };
    let first = add(&world, asked.clone()).await.unwrap();
    add(&world, note(&world, name, "And rang home.")).await.unwrap();
    // A day later, when what is undated would be of another day.
    world.turn_to("2025-12-01");
    assert_eq!(add(&world, asked.clone()).await.unwrap(), first);
    let other = pb::AddActionEntryRequest {
        entry: Some(Asked::Evidence(evidence())),
        ..asked
    };
    assert_eq!(
        refused(add(&world, other).await),
        invalid("REQUEST_ID_REUSED", "request_id")
    );
    assert_eq!(log(&world, name).await.len(), 3);
}
