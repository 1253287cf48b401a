//! Placing: which register each mark of an item belongs to.

use std::borrow::Cow;

use uuid::Uuid;

use super::SessionItem;
use super::ledger::Ledger;
use crate::domain::code::AttendanceCode;
use crate::domain::register::{CLEAR, LEAVE};
use crate::service::error::Rejection;
use crate::store::registers::Window;

/// A batch whose marks lie within so many sessions of one year loads and writes that part of each register alone.
const WINDOW_SESSIONS_MAX: usize = 64;

/// The part of the registers that a batch needs.
pub(super) fn window_of(items: &[SessionItem]) -> Window {
    let one_year = items.windows(2).all(|pair| pair[0].year == pair[1].year);
    let from = items.iter().map(|item| item.first).min().unwrap_or(0);
    let to = items
        .iter()
        .map(|item| item.first + item.marks.len())
        .max()
        .unwrap_or(0);
    if one_year && to - from <= WINDOW_SESSIONS_MAX {
        Window {
            offset: from,
            length: to - from,
        }
    } else {
        Window::WHOLE
    }
}

/// Puts an item's marks to the registers of the enrolments that were on roll on their dates. The item is taken whole or
/// not at all.
pub(super) fn place<'a>(
    ledger: &mut Ledger<'a>,
    pupil: usize,
    school: Option<Uuid>,
    item: &'a SessionItem,
) -> Result<(), Rejection> {
    let marked = |mark: &&u8| **mark != LEAVE;
    let lead = item.marks.iter().take_while(|mark| **mark == LEAVE).count();
    let tail = item.marks.iter().rev().take_while(|mark| **mark == LEAVE).count();
    let (first, marks) = (item.first + lead, &item.marks[lead..item.marks.len() - tail]);
    debug_assert!(marks.iter().any(|mark| marked(&mark)));
    let last_place = first + marks.len() - 1;
    let from = item.year.session_at(first).date;
    let to = item.year.session_at(last_place).date;
    let candidates = ledger.enrolments_at(pupil, school);

    // Almost always one enrolment holds the whole run.
    let mut overlapping = candidates
        .iter()
        .filter(|(_, span)| span.start <= to && span.end.is_none_or(|end| end >= from));
    if let (Some((enrolment, span)), None) = (overlapping.next(), overlapping.next())
        && span.on_roll(from)
        && span.on_roll(to)
    {
        ledger.claim(*enrolment, item.year, item, first, Cow::Borrowed(marks));
        return Ok(());
    }

    // Otherwise each mark finds its own.
    let mut parts: Vec<(usize, Vec<u8>)> = Vec::new();
    for (place, &mark) in marks.iter().enumerate().filter(|(_, mark)| marked(mark)) {
        let session = item.year.session_at(first + place);
        let refuse = |reason: &str, message: &str| {
            let field = format!("marks[{}]", lead + place);
            Err(Rejection::new(item.item_index, field, reason, message).at(session))
        };
        let mut on_roll = candidates.iter().filter(|(_, span)| span.on_roll(session.date));
        let enrolment = match (on_roll.next(), on_roll.next()) {
            (Some((enrolment, _)), None) => *enrolment,
            (Some(_), Some(_)) => {
                return refuse(
                    "AMBIGUOUS_ENROLMENT",
                    "the pupil is on roll at two schools on this date: name the school",
                );
            }
            (None, _) if mark == AttendanceCode::Z.byte() || mark == CLEAR => {
                // A prospective pupil is marked in the register of the enrolment to come; so that mark can be taken away.
                let to_come = candidates.iter().filter(|(_, span)| span.start > session.date);
                match to_come.min_by_key(|(_, span)| span.start) {
                    Some((enrolment, _)) => *enrolment,
                    None => return refuse("OUTSIDE_ENROLMENT", "no enrolment begins after this date"),
                }
            }
            (None, _) => {
                return refuse(
                    "OUTSIDE_ENROLMENT",
                    "the pupil is not on roll on this date: upsert the enrolment first, or leave the mark out",
                );
            }
        };
        let part = match parts.iter().position(|(known, _)| *known == enrolment) {
            Some(known) => known,
            None => {
                parts.push((enrolment, vec![LEAVE; marks.len()]));
                parts.len() - 1
            }
        };
        parts[part].1[place] = mark;
    }
    for (enrolment, marks) in parts {
        ledger.claim(enrolment, item.year, item, first, Cow::Owned(marks));
    }
    Ok(())
}
