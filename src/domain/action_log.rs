//! The log of an action: what was done about it, by whom and when. Entries are added and never changed.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::action::{ActionState, Assignee};
use super::person::Author;

/// An enum of a list of choices, each stored under its name, in the order of the contract's enum.
macro_rules! choices {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $choice:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$doc])* $choice,)+
        }

        impl $name {
            /// Every choice, in the order of the contract's enum.
            pub const ALL: &[$name] = &[$($name::$choice,)+];
        }
    };
}
pub(super) use choices;

choices! {
    /// Who was spoken with or sat at a table.
    Party {
        /// The pupil.
        Pupil,
        /// A parent or carer.
        Parent,
        /// Another member of the family or household.
        Family,
        /// A member of staff.
        Staff,
        /// An officer of the local authority.
        LocalAuthority,
        /// Somebody of another agency.
        Agency,
        /// Anybody else.
        Other,
    }
}

choices! {
    /// How somebody was contacted.
    ContactMethod {
        /// By telephone.
        Telephone,
        /// By text or another short message.
        Message,
        /// By email.
        Email,
        /// By video call.
        Video,
        /// In person, at school.
        InPerson,
        /// By a visit to the home.
        HomeVisit,
        /// In any other way.
        Other,
    }
}

choices! {
    /// What came of a contact.
    ContactOutcome {
        /// The person was reached.
        Reached,
        /// A message was left or delivered.
        MessageLeft,
        /// Nobody answered.
        NoAnswer,
        /// The person was reached and would not speak.
        Declined,
    }
}

choices! {
    /// To whom a pupil can be referred.
    Agency {
        /// Child and adolescent mental health services.
        Camhs,
        /// A mental health support team.
        Mhst,
        /// A general practitioner.
        Gp,
        /// An educational psychologist.
        Ep,
        /// A family hub.
        FamilyHub,
        /// The local authority.
        LocalAuthority,
        /// Children's social care.
        SocialCare,
        /// Another one, that has a name.
        Other,
    }
}

choices! {
    /// Where a referral is.
    ReferralStatus {
        /// Sent to the agency.
        Sent,
        /// Accepted by the agency.
        Accepted,
        /// Declined by the agency.
        Declined,
        /// Over.
        Closed,
    }
}

impl ReferralStatus {
    /// What may become of a referral from here.
    pub const fn next(self) -> &'static [ReferralStatus] {
        match self {
            ReferralStatus::Sent => &[
                ReferralStatus::Accepted,
                ReferralStatus::Declined,
                ReferralStatus::Closed,
            ],
            ReferralStatus::Accepted => &[ReferralStatus::Closed],
            ReferralStatus::Declined | ReferralStatus::Closed => &[],
        }
    }
}

impl fmt::Display for ReferralStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ReferralStatus::Sent => "sent",
            ReferralStatus::Accepted => "accepted",
            ReferralStatus::Declined => "declined",
            ReferralStatus::Closed => "closed",
        })
    }
}

choices! {
    /// Where evidence is kept.
    EvidenceSource {
        /// CPOMS, a system for safeguarding.
        Cpoms,
        /// MyConcern, a system for safeguarding.
        Myconcern,
        /// A store of documents.
        DocumentStore,
        /// The management information system.
        Mis,
        /// Another system, that has a name.
        Other,
    }
}

/// Somebody was contacted, or it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Who.
    pub party: Party,
    /// The person's name; may be empty.
    pub person_name: String,
    /// How.
    pub method: ContactMethod,
    /// What came of it.
    pub outcome: ContactOutcome,
    /// What was said; may be empty.
    pub summary: String,
    /// The day.
    pub contacted_on: NaiveDate,
}

/// Somebody at a meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attendee {
    /// Who.
    pub party: Party,
    /// The person's name; may be empty.
    pub person_name: String,
}

/// A meeting was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// Who was present.
    pub attendees: Vec<Attendee>,
    /// What was said and agreed.
    pub summary: String,
    /// The day.
    pub held_on: NaiveDate,
}

/// A letter was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// To whom.
    pub recipient: String,
    /// What it is about.
    pub subject: String,
    /// Where its text is, in the caller's own system; may be empty.
    pub reference: String,
    /// The day.
    pub sent_on: NaiveDate,
}

/// A pupil was referred to an agency, or a referral went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// To whom.
    pub agency: Agency,
    /// The agency's name; may be empty where it is not another one.
    pub agency_name: String,
    /// Where it is now.
    pub status: ReferralStatus,
    /// The entry that sent it; nothing where this one does.
    pub sent_in_entry: Option<i32>,
    /// What the agency calls it; may be empty.
    pub reference: String,
    /// What was asked or answered; may be empty.
    pub comment: String,
    /// The day.
    pub happened_on: NaiveDate,
}

/// A reference to evidence in the caller's own systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which system.
    pub source: EvidenceSource,
    /// The system's name; may be empty where it is not another one.
    pub source_name: String,
    /// What that system calls it.
    pub identifier: String,
    /// What it shows; may be empty.
    pub description: String,
}

/// What was being done was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// What was found.
    pub found: String,
    /// What was decided.
    pub decided: String,
    /// The day.
    pub reviewed_on: NaiveDate,
    /// When to look again.
    pub next_review_on: Option<NaiveDate>,
}

/// An action was given to another person, or to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentChange {
    /// Who had it.
    pub from: Option<Assignee>,
    /// Who has it.
    pub to: Option<Assignee>,
}

/// An action was given another due date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueDateChange {
    /// The date before.
    pub from: Option<NaiveDate>,
    /// The date after.
    pub to: NaiveDate,
    /// Why.
    pub reason: String,
}

choices! {
    /// What became of a plan.
    PlanChangeKind {
        /// It was made.
        Created,
        /// A cycle of it was reviewed.
        Reviewed,
        /// It was closed without a review.
        Closed,
    }
}

/// A plan that is linked with an action was made, reviewed or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanChange {
    /// The plan.
    pub plan_id: Uuid,
    /// What became of it.
    pub kind: PlanChangeKind,
    /// The cycle that began, was reviewed or was under way.
    pub cycle: i32,
    /// The day on which the cycle begins, was reviewed, or the plan ended.
    pub happened_on: NaiveDate,
}

/// What an entry of an action's log records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The action moved.
    StateChange {
        /// The state before.
        from: ActionState,
        /// The state after.
        to: ActionState,
        /// Why; empty where the move needs no reason.
        reason: String,
    },
    /// It was given to another person, or to nobody.
    Assignment(AssignmentChange),
    /// It was given another due date.
    DueDate(DueDateChange),
    /// Something that was said or done, in words.
    Note(String),
    /// Somebody was contacted.
    Contact(Contact),
    /// A meeting was held.
    Meeting(Meeting),
    /// A letter was sent.
    Letter(Letter),
    /// A referral was made, or went on.
    Referral(Referral),
    /// Evidence was named.
    Evidence(Evidence),
    /// A review was made.
    Review(Review),
    /// A plan that is linked with the action changed.
    Plan(PlanChange),
}

/// A referral that cannot go on as an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferralError {
    /// No entry of the log sent it.
    #[error("no entry of this number sent a referral")]
    NotSent,
    /// It is where it cannot go on so.
    #[error("a referral that is {from} cannot become {to}")]
    IllegalMove {
        /// Where it is.
        from: ReferralStatus,
        /// Where it was to go.
        to: ReferralStatus,
    },
}

/// A referral that goes on, seen against the referrals of the log so far: with the agency of the entry that sent it. One that is
/// sent is taken as it is.
pub fn referral_goes_on(log: &[(i32, Referral)], mut next: Referral) -> Result<Referral, ReferralError> {
    let Some(sent_in) = next.sent_in_entry else {
        return Ok(next);
    };
    let sent = log
        .iter()
        .find(|(ordinal, referral)| *ordinal == sent_in && referral.sent_in_entry.is_none());
    let (_, sent) = sent.ok_or(ReferralError::NotSent)?;
    let later = log
        .iter()
        .filter(|(_, referral)| referral.sent_in_entry == Some(sent_in));
    let from = later
        .max_by_key(|(ordinal, _)| *ordinal)
        .map_or(sent.status, |(_, referral)| referral.status);
    if !from.next().contains(&next.status) {
        return Err(ReferralError::IllegalMove { from, to: next.status });
    }
    next.agency = sent.agency;
    next.agency_name.clone_from(&sent.agency_name);
    Ok(next)
}

impl Entry {
    /// Whether it is work on the action. That it was given to somebody or has another date is none.
    pub const fn is_work(&self) -> bool {
        !matches!(
            self,
            Entry::StateChange { .. } | Entry::Assignment(_) | Entry::DueDate(_)
        )
    }

    /// The day on which it happened, with the name of the field that gives it; nothing where that is the day of the record.
    pub const fn happened_on(&self) -> Option<(&'static str, NaiveDate)> {
        match self {
            Entry::Contact(contact) => Some(("contact.contacted_on", contact.contacted_on)),
            Entry::Meeting(meeting) => Some(("meeting.held_on", meeting.held_on)),
            Entry::Letter(letter) => Some(("letter.sent_on", letter.sent_on)),
            Entry::Referral(referral) => Some(("referral.happened_on", referral.happened_on)),
            Entry::Review(review) => Some(("review.reviewed_on", review.reviewed_on)),
            _ => None,
        }
    }
}

/// One entry of an action's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionEntry {
    /// The place in the log, from 1.
    pub ordinal: i32,
    /// What it records.
    pub entry: Entry,
    /// Who recorded it.
    pub recorded_by: Author,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referral(status: ReferralStatus, sent_in_entry: Option<i32>) -> Referral {
        Referral {
            agency: if sent_in_entry.is_none() {
                Agency::Camhs
            } else {
                Agency::Other
            },
            agency_name: String::new(),
            status,
            sent_in_entry,
            reference: String::new(),
            comment: String::new(),
            happened_on: "2025-10-01".parse().unwrap(),
        }
    }

    #[test]
    fn a_referral_goes_on_from_where_it_is_and_keeps_its_agency() {
        use ReferralStatus::{Accepted, Closed, Declined, Sent};
        let mut log = vec![(2, referral(Sent, None)), (3, referral(Sent, None))];
        let accepted = referral_goes_on(&log, referral(Accepted, Some(2))).unwrap();
        assert_eq!(accepted.agency, Agency::Camhs);
        log.push((4, accepted));
        assert_eq!(
            referral_goes_on(&log, referral(Declined, Some(2))),
            Err(ReferralError::IllegalMove {
                from: Accepted,
                to: Declined
            })
        );
        // The other one is still where it was.
        assert!(referral_goes_on(&log, referral(Declined, Some(3))).is_ok());
        log.push((5, referral_goes_on(&log, referral(Closed, Some(2))).unwrap()));
        assert!(referral_goes_on(&log, referral(Closed, Some(2))).is_err());
        for nothing_sent in [0, 4, 6] {
            let refused = referral_goes_on(&log, referral(Accepted, Some(nothing_sent)));
            assert_eq!(refused, Err(ReferralError::NotSent));
        }
    }

    #[test]
    fn work_is_whatever_was_done_and_not_who_has_it_or_until_when() {
        let date: NaiveDate = "2025-10-01".parse().unwrap();
        let given = AssignmentChange { from: None, to: None };
        assert!(Entry::Note("Rang home.".into()).is_work());
        assert!(Entry::Referral(referral(ReferralStatus::Sent, None)).is_work());
        assert!(!Entry::Assignment(given).is_work());
        let moved = DueDateChange {
            from: None,
            to: date,
            reason: "half term".into(),
        };
        assert!(!Entry::DueDate(moved).is_work());
    }
}
