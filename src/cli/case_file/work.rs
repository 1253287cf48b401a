//! Of a case file: what the stages required, and what was done.

use std::collections::HashMap;

use super::CaseFile;
use super::html::{Html, capital, day_text, lines_of, person_text, time_day_text};
use crate::cli::output::{stage_text, words};
use crate::proto::action_entry::Entry;
use crate::proto::{
    Action, ActionEntry, ActionState, Assignee, Attendee, CaseFileEntry, Contact, Date, Letter, Meeting, Plan,
    PlanCycle, PlanDecision, Referral, ReferralAgency,
};

/// Writes the sections.
pub fn sections(page: &mut Html, file: &CaseFile) {
    let titles: HashMap<&str, &Action> = file
        .actions
        .iter()
        .map(|action| (action.name.as_str(), action))
        .collect();
    let entries: Vec<Recorded> = file
        .entries
        .iter()
        .filter_map(|entry| Recorded::of(entry, &titles))
        .collect();
    actions(page, file);
    contacts(page, &entries);
    referrals(page, &entries);
    plans(page, file, &titles);
    reviews(page, &entries);
    log(page, &entries);
}

/// An entry with the action that it is about.
struct Recorded<'f> {
    action: String,
    entry: &'f ActionEntry,
    what: &'f Entry,
}

impl<'f> Recorded<'f> {
    fn of(entry: &'f CaseFileEntry, titles: &HashMap<&str, &Action>) -> Option<Recorded<'f>> {
        let name = entry.action_name.as_str();
        let action = titles.get(name).map_or_else(|| name.to_owned(), |action| title(action));
        let entry = entry.entry.as_ref()?;
        Some(Recorded {
            action,
            entry,
            what: entry.entry.as_ref()?,
        })
    }

    fn recorded(&self) -> String {
        lines_of(&[&person_text(self.entry.recorded_by.as_ref()), &self.recorded_on()])
    }

    fn recorded_on(&self) -> String {
        time_day_text(self.entry.recorded_at.as_ref())
    }
}

fn title(action: &Action) -> String {
    format!("{} {}", action.provision_id, action.title)
}

fn state_text(state: ActionState) -> String {
    capital(&words(state.as_str_name(), "ACTION_STATE_"))
}

fn assignee_text(assignee: Option<&Assignee>) -> &str {
    assignee.map_or("nobody", |assignee| &assignee.name)
}

fn actions(page: &mut Html, file: &CaseFile) {
    page.section("Actions");
    if file.actions.is_empty() {
        page.nothing("No stage has required any action of this pupil.");
    }
    let mut rest = file.actions.as_slice();
    while let Some(first) = rest.first() {
        let of_episode = rest.iter().take_while(|action| action.episode == first.episode).count();
        let (episode, after) = rest.split_at(of_episode);
        rest = after;
        let (worked, untouched): (Vec<&Action>, Vec<&Action>) = episode
            .iter()
            .partition(|action| action.begun_at.is_some() || is_decided(action));
        page.markup("<h3>Episode ")
            .text(&first.episode.to_string())
            .markup(", raised from ");
        let raised = episode
            .iter()
            .min_by_key(|action| action.raised_at.map(|at| (at.seconds, at.nanos)));
        page.text(&time_day_text(raised.and_then(|action| action.raised_at.as_ref())))
            .markup("</h3>\n");
        if !worked.is_empty() {
            let headings = ["Stage", "Action", "State", "With", "Raised", "Due", "Begun"];
            let rows: Vec<Vec<String>> = worked.iter().map(|action| action_row(action)).collect();
            page.table(
                "actions",
                "Actions on which there was work, or a decision",
                &headings,
                &rows,
            );
        }
        if !untouched.is_empty() {
            let headings = ["Stage", "Action", "State", "With", "Raised", "Due"];
            let rows = untouched.iter().map(|action| {
                let mut row = action_row(action);
                row.truncate(headings.len());
                row
            });
            page.table(
                "untouched",
                "Actions on which no work was recorded",
                &headings,
                &rows.collect::<Vec<_>>(),
            );
        }
    }
    page.markup("</section>\n");
}

fn is_decided(action: &Action) -> bool {
    let open = [ActionState::ToBeConsidered, ActionState::Open, ActionState::Withdrawn];
    !open.contains(&action.state())
}

fn action_row(action: &Action) -> Vec<String> {
    let flag = match (action.never_reached, action.no_longer_required) {
        (true, _) => "its stage was never reached",
        (false, true) => "no longer required",
        (false, false) => "",
    };
    vec![
        stage_text(action.stage),
        title(action),
        lines_of(&[&state_text(action.state()), flag]),
        action
            .assignee
            .as_ref()
            .map_or_else(String::new, |assignee| assignee.name.clone()),
        time_day_text(action.raised_at.as_ref()),
        day_text(action.due_on.as_ref()),
        time_day_text(action.begun_at.as_ref()),
    ]
}

fn day_key(day: Option<&Date>) -> Option<(i32, i32, i32)> {
    day.map(|day| (day.year, day.month, day.day))
}

/// Rows that say on which day something was, in the order of these days.
fn by_day(mut rows: Vec<(Option<Date>, Vec<String>)>) -> Vec<Vec<String>> {
    rows.sort_by_key(|(day, _)| day_key(day.as_ref()));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn contacts(page: &mut Html, entries: &[Recorded]) {
    page.section("Contacts, meetings and letters");
    let rows = entries.iter().filter_map(|recorded| {
        let (day, how, who, what) = match recorded.what {
            Entry::Contact(contact) => contact_cells(contact),
            Entry::Meeting(meeting) => meeting_cells(meeting),
            Entry::Letter(letter) => letter_cells(letter),
            _ => return None,
        };
        let cells = vec![
            day_text(day.as_ref()),
            how,
            who,
            what,
            recorded.action.clone(),
            recorded.recorded(),
        ];
        Some((day, cells))
    });
    let rows = by_day(rows.collect());
    if rows.is_empty() {
        page.nothing("No contact, meeting or letter is on record.");
    } else {
        let headings = ["Day", "How", "With", "What", "Action", "Recorded"];
        page.table("contacts", "Contacts, meetings and letters by day", &headings, &rows);
    }
    page.markup("</section>\n");
}

type Cells = (Option<Date>, String, String, String);

fn contact_cells(contact: &Contact) -> Cells {
    let how = capital(&words(contact.method().as_str_name(), "CONTACT_METHOD_"));
    let outcome = words(contact.outcome().as_str_name(), "CONTACT_OUTCOME_");
    let party = words(contact.party().as_str_name(), "PARTY_");
    let who = lines_of(&[&contact.person_name, &party]);
    (
        contact.contacted_on,
        lines_of(&[&how, &outcome]),
        who,
        contact.summary.clone(),
    )
}

fn attendee_text(attendee: &Attendee) -> String {
    let party = words(attendee.party().as_str_name(), "PARTY_");
    match attendee.person_name.as_str() {
        "" => party,
        name => format!("{name} ({party})"),
    }
}

fn meeting_cells(meeting: &Meeting) -> Cells {
    let who: Vec<String> = meeting.attendees.iter().map(attendee_text).collect();
    (
        meeting.held_on,
        "Meeting".to_owned(),
        who.join("\n"),
        meeting.summary.clone(),
    )
}

fn letter_cells(letter: &Letter) -> Cells {
    let what = lines_of(&[&letter.subject, &letter.reference]);
    (letter.sent_on, "Letter".to_owned(), letter.recipient.clone(), what)
}

fn agency_text(referral: &Referral) -> String {
    let agency = match referral.agency() {
        ReferralAgency::Unspecified | ReferralAgency::Other => "",
        ReferralAgency::Camhs => "CAMHS",
        ReferralAgency::Mhst => "Mental health support team",
        ReferralAgency::Gp => "GP",
        ReferralAgency::Ep => "Educational psychologist",
        ReferralAgency::FamilyHub => "Family hub",
        ReferralAgency::LocalAuthority => "Local authority",
        ReferralAgency::SocialCare => "Children's social care",
    };
    lines_of(&[agency, &referral.agency_name])
}

fn referrals(page: &mut Html, entries: &[Recorded]) {
    page.section("Referrals");
    let rows = entries.iter().filter_map(|recorded| {
        let Entry::Referral(referral) = recorded.what else {
            return None;
        };
        let cells = vec![
            day_text(referral.happened_on.as_ref()),
            agency_text(referral),
            capital(&words(referral.status().as_str_name(), "REFERRAL_STATUS_")),
            lines_of(&[&referral.comment, &referral.reference]),
            recorded.action.clone(),
            recorded.recorded(),
        ];
        Some((referral.happened_on, cells))
    });
    let rows = by_day(rows.collect());
    if rows.is_empty() {
        page.nothing("No referral is on record.");
    } else {
        let headings = ["Day", "Agency", "Status", "What", "Action", "Recorded"];
        page.table("contacts", "Referrals by day", &headings, &rows);
    }
    page.markup("</section>\n");
}

fn plans(page: &mut Html, file: &CaseFile, titles: &HashMap<&str, &Action>) {
    page.section("Plans of support");
    if file.plans.is_empty() {
        page.nothing("No plan of support is on record.");
    }
    let mut plans: Vec<&Plan> = file.plans.iter().collect();
    plans.sort_by_key(|plan| day_key(plan.started_on.as_ref()));
    for plan in plans {
        page.markup("<h3>Plan of ").text(&day_text(plan.started_on.as_ref()));
        let action = titles.get(plan.action.as_str()).map(|action| title(action));
        if let Some(action) = action {
            page.markup(", for ").text(&action);
        }
        page.markup("</h3>\n");
        let headings = [
            "Cycle",
            "Aims",
            "What is done",
            "Agreed by",
            "Review",
            "Found",
            "Decided",
        ];
        let rows: Vec<Vec<String>> = plan.cycles.iter().map(cycle_row).collect();
        page.table("plan", "The plan's cycles, each with its review", &headings, &rows);
        if let Some(end) = &plan.end {
            let reason = capital(&words(end.reason().as_str_name(), "PLAN_END_REASON_"));
            page.markup("<p>Ended on ").text(&day_text(end.ended_on.as_ref()));
            page.markup(": ").text(&lines_of(&[&reason, &end.comment]));
            page.markup(". Recorded by ")
                .text(&person_text(end.recorded_by.as_ref()));
            page.markup("</p>\n");
        } else {
            page.markup("<p>To be reviewed next on ")
                .text(&day_text(plan.next_review_on.as_ref()));
            page.markup(if plan.review_overdue {
                ": overdue</p>\n"
            } else {
                "</p>\n"
            });
        }
    }
    page.markup("</section>\n");
}

fn cycle_row(cycle: &PlanCycle) -> Vec<String> {
    let aims = cycle.aims.iter().map(|aim| {
        let by = match day_text(aim.by_date.as_ref()) {
            none if none.is_empty() => none,
            day => format!("by {day}"),
        };
        lines_of(&[&aim.aim, &aim.change, &by])
    });
    let review = cycle.review.clone().unwrap_or_default();
    let reviewed = match day_text(review.reviewed_on.as_ref()) {
        none if none.is_empty() => format!("due {}", day_text(cycle.review_on.as_ref())),
        day => day,
    };
    let decided = match review.decision() {
        PlanDecision::Unspecified => String::new(),
        decision => capital(&words(decision.as_str_name(), "PLAN_DECISION_")),
    };
    let who: Vec<String> = cycle.agreed_by.iter().map(attendee_text).collect();
    vec![
        lines_of(&[
            &cycle.number.to_string(),
            &format!("from {}", day_text(cycle.starts_on.as_ref())),
        ]),
        aims.collect::<Vec<_>>().join("\n"),
        cycle.steps.clone(),
        who.join("\n"),
        reviewed,
        review.found.clone(),
        lines_of(&[&decided, &review.comment, &person_text(review.recorded_by.as_ref())]),
    ]
}

fn reviews(page: &mut Html, entries: &[Recorded]) {
    page.section("Reviews");
    let rows = entries.iter().filter_map(|recorded| {
        let Entry::Review(review) = recorded.what else {
            return None;
        };
        let cells = vec![
            day_text(review.reviewed_on.as_ref()),
            review.found.clone(),
            review.decided.clone(),
            day_text(review.next_review_on.as_ref()),
            recorded.action.clone(),
            recorded.recorded(),
        ];
        Some((review.reviewed_on, cells))
    });
    let rows = by_day(rows.collect());
    if rows.is_empty() {
        page.nothing("No review is on record.");
    } else {
        let headings = ["Day", "Found", "Decided", "Next review", "Action", "Recorded"];
        page.table("reviews", "Reviews by day", &headings, &rows);
    }
    page.markup("</section>\n");
}

/// Notes, evidence, and how the actions moved.
fn log(page: &mut Html, entries: &[Recorded]) {
    page.section("Log of the actions");
    let mut logged: Vec<&Recorded> = entries.iter().collect();
    logged.sort_by_key(|recorded| recorded.entry.recorded_at.map(|at| (at.seconds, at.nanos)));
    let rows = logged.into_iter().filter_map(|recorded| {
        let (kind, text) = log_cells(recorded.what)?;
        let by = person_text(recorded.entry.recorded_by.as_ref());
        Some(vec![
            recorded.recorded_on(),
            recorded.action.clone(),
            kind.to_owned(),
            text,
            by,
        ])
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        page.nothing("No note, evidence or move of an action is on record.");
    } else {
        let headings = ["Recorded", "Action", "Kind", "What", "By"];
        page.table(
            "log",
            "Notes, evidence, moves, assignments and dates, as they were recorded",
            &headings,
            &rows,
        );
    }
    page.markup("</section>\n");
}

/// What an entry says that no other section has.
fn log_cells(entry: &Entry) -> Option<(&'static str, String)> {
    Some(match entry {
        Entry::StateChange(change) => {
            let states = [change.from_state(), change.to_state()];
            let [from, to] = states.map(|state| words(state.as_str_name(), "ACTION_STATE_"));
            ("State", lines_of(&[&format!("{from} to {to}"), &change.reason]))
        }
        Entry::AssignmentChange(change) => {
            let (from, to) = (change.from_assignee.as_ref(), change.to_assignee.as_ref());
            (
                "Given to",
                format!("{} (before: {})", assignee_text(to), assignee_text(from)),
            )
        }
        Entry::DueDateChange(change) => {
            let before = match day_text(change.from_date.as_ref()) {
                none if none.is_empty() => "none".to_owned(),
                before => before,
            };
            let moved = format!("{} (before: {before})", day_text(change.to_date.as_ref()));
            ("Due date", lines_of(&[&moved, &change.reason]))
        }
        Entry::Note(note) => ("Note", note.text.clone()),
        Entry::Evidence(evidence) => {
            let source = match evidence.source_name.as_str() {
                "" => words(evidence.source().as_str_name(), "EVIDENCE_SOURCE_"),
                name => name.to_owned(),
            };
            let reference = format!("{source}: {}", evidence.identifier);
            ("Evidence", lines_of(&[&evidence.description, &reference]))
        }
        Entry::PlanChange(change) => {
            let kind = words(change.kind().as_str_name(), "PLAN_CHANGE_KIND_");
            let day = day_text(change.happened_on.as_ref());
            ("Plan", format!("{kind}, cycle {}, {day}", change.cycle))
        }
        Entry::Contact(_) | Entry::Meeting(_) | Entry::Letter(_) | Entry::Referral(_) | Entry::Review(_) => {
            return None;
        }
    })
}
