//! What a batch of pupils does to what is stored: pure, so that every rule of it can be tried without a database.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{Datelike, NaiveDate};
use uuid::Uuid;

use super::PupilInput;
use crate::domain::identifiers::{PupilId, PupilKey, SchoolId, SchoolKey, Upn, UpnWarning};
use crate::domain::pupil::incompatible_pair;
use crate::service::error::{FieldViolation, Rejection, Warning};
use crate::store::StoreError;
use crate::store::pupils::writes::{PupilFields, PupilWrites};
use crate::store::pupils::{EnrolmentRow, IdentifierRow, KIND_UPN, PupilRow, stored_key};

/// The most MIS identifiers of one item.
pub const MIS_IDENTIFIERS_MAX: usize = 20;
/// The most enrolments of one item.
pub const ENROLMENTS_MAX: usize = 100;

/// A pupil that is there, with its identifiers and enrolments.
#[derive(Clone, Debug)]
pub struct StoredPupil {
    /// The pupil.
    pub row: PupilRow,
    /// Its identifiers, former ones too.
    pub identifiers: Vec<IdentifierRow>,
    /// Its enrolments.
    pub enrolments: Vec<EnrolmentRow>,
}

/// What is stored about whatever a batch names.
#[derive(Debug, Default)]
pub struct Stored {
    /// The pupil of each key that is there.
    pub resolved: HashMap<PupilKey, PupilId>,
    /// Each school that is there.
    pub schools: HashMap<SchoolKey, SchoolId>,
    /// Those pupils.
    pub pupils: HashMap<Uuid, StoredPupil>,
    /// The date of the last mark of each enrolment that the batch ends earlier than before, where it has one.
    pub last_marks: HashMap<Uuid, NaiveDate>,
}

/// What became of an item that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It made a new pupil.
    Created,
    /// It changed a pupil.
    Updated,
    /// It changed nothing.
    Unchanged,
}

/// The pupils who were there before a batch that changes a date of birth or an enrolment of theirs: statutory thresholds rest
/// upon both.
pub fn bear_on_thresholds(writes: &PupilWrites, stored: &Stored) -> Vec<Uuid> {
    let born = |pupil: &PupilFields| stored.pupils.get(&pupil.pupil_id).map(|there| there.row.date_of_birth);
    let other_birth = writes.changed_pupils.iter();
    let other_birth = other_birth.filter(|pupil| born(pupil).is_some_and(|born| born != pupil.date_of_birth));
    let enrolments = writes.new_enrolments.iter().chain(&writes.changed_enrolments);
    let pupils = other_birth
        .map(|pupil| pupil.pupil_id)
        .chain(enrolments.map(|enrolment| enrolment.pupil_id));
    pupils.filter(|pupil| stored.pupils.contains_key(pupil)).collect()
}

/// The pupils who were there before a batch that changes enrolments of theirs, in order, each with the first day on which it
/// does.
pub fn moved(writes: &PupilWrites, stored: &Stored) -> Vec<(Uuid, NaiveDate)> {
    let began = writes.new_enrolments.iter().map(|row| (row.pupil_id, row.start_date));
    let changed = writes.changed_enrolments.iter().map(|row| {
        let there = stored.pupils.get(&row.pupil_id);
        let there = there.and_then(|there| {
            there
                .enrolments
                .iter()
                .find(|there| there.enrolment_id == row.enrolment_id)
        });
        let ends = there
            .filter(|there| there.kind == row.kind)
            .and_then(|there| there.end_date.into_iter().chain(row.end_date).min());
        (row.pupil_id, ends.unwrap_or(row.start_date))
    });
    let mut moved: BTreeMap<Uuid, NaiveDate> = BTreeMap::new();
    for (pupil, since) in began
        .chain(changed)
        .filter(|(pupil, _)| stored.pupils.contains_key(pupil))
    {
        let earliest = moved.entry(pupil).or_insert(since);
        *earliest = since.min(*earliest);
    }
    moved.into_iter().collect()
}

/// Plans a batch, item by item in order.
pub struct Planner<'a> {
    stored: &'a Stored,
    today: NaiveDate,
    claimed_keys: HashSet<PupilKey>,
    claimed_pupils: HashSet<PupilId>,
    /// What is to be written.
    pub writes: PupilWrites,
    /// What was taken and deserves a look.
    pub warnings: Vec<Warning>,
}

/// The place of an identifier in an item.
#[derive(Clone, Copy)]
enum Place {
    Upn,
    Mis(usize),
}

impl Place {
    fn field(self) -> String {
        match self {
            Place::Upn => "upn".to_owned(),
            Place::Mis(place) => format!("mis_identifiers[{place}]"),
        }
    }
}

/// The keys under which an item can be matched, the UPN first, each once.
fn placed_keys(input: &PupilInput) -> Vec<(Place, PupilKey)> {
    let upn = input.upn.iter().map(|upn| (Place::Upn, PupilKey::Upn(upn.clone())));
    let mis = input.mis_identifiers.iter().enumerate();
    let mis = mis.map(|(place, mis)| (Place::Mis(place), PupilKey::Mis(mis.clone())));
    let mut keys: Vec<(Place, PupilKey)> = Vec::new();
    for (place, key) in upn.chain(mis) {
        if !keys.iter().any(|(_, known)| *known == key) {
            keys.push((place, key));
        }
    }
    keys
}

/// The keys under which an item can be matched.
pub fn keys(input: &PupilInput) -> impl Iterator<Item = PupilKey> {
    placed_keys(input).into_iter().map(|(_, key)| key)
}

/// The field of the first identifier of an item that is there already.
pub fn field_already_there(input: &PupilInput, stored: &Stored) -> Option<String> {
    placed_keys(input)
        .into_iter()
        .find(|(_, key)| stored.resolved.contains_key(key))
        .map(|(place, _)| place.field())
}

/// The enrolments that an item ends earlier than they end now, as pupil and enrolment.
pub fn shortened(input: &PupilInput, stored: &Stored) -> Vec<(Uuid, Uuid)> {
    let mut found = Vec::new();
    let pupil = keys(input).find_map(|key| stored.resolved.get(&key).copied());
    let Some(pupil) = pupil.and_then(|pupil| stored.pupils.get(&pupil.0)) else {
        return found;
    };
    for enrolment in &input.enrolments {
        let (Some(end), Some(school)) = (enrolment.end, stored.schools.get(&enrolment.school)) else {
            continue;
        };
        let ends_earlier = |row: &&EnrolmentRow| {
            row.school_id == school.0
                && row.start_date == enrolment.start
                && row.end_date.is_none_or(|there| end < there)
        };
        let rows = pupil.enrolments.iter().filter(ends_earlier);
        found.extend(rows.map(|row| (row.pupil_id, row.enrolment_id)));
    }
    found
}

/// Checks a date of birth.
pub fn check_date_of_birth(field: &str, date: Option<NaiveDate>, today: NaiveDate) -> Result<(), FieldViolation> {
    match date {
        Some(date) if date > today || date.year() < 1900 => Err(FieldViolation::new(
            field,
            "INVALID_DATE",
            "a date of birth is in the past and not before 1900: correct it, or leave it out",
        )),
        _ => Ok(()),
    }
}

/// Checks what needs nothing stored.
pub fn check_values(input: &PupilInput, today: NaiveDate) -> Result<(), FieldViolation> {
    if input.upn.is_none() && input.mis_identifiers.is_empty() {
        return Err(missing_identifier("upn"));
    }
    let bounds = [
        (
            "mis_identifiers",
            "TOO_MANY_IDENTIFIERS",
            input.mis_identifiers.len(),
            MIS_IDENTIFIERS_MAX,
        ),
        (
            "enrolments",
            "TOO_MANY_ENROLMENTS",
            input.enrolments.len(),
            ENROLMENTS_MAX,
        ),
    ];
    for (field, reason, count, most) in bounds {
        if count > most {
            return Err(FieldViolation::new(field, reason, format!("give at most {most}")));
        }
    }
    check_date_of_birth("date_of_birth", input.date_of_birth, today)?;
    for (place, enrolment) in input.enrolments.iter().enumerate() {
        if enrolment.end.is_some_and(|end| end < enrolment.start) {
            return Err(FieldViolation::new(
                format!("enrolments[{place}].end_date"),
                "INVALID_DATE_RANGE",
                "the enrolment ends before it starts: give a last day that is not before the first",
            ));
        }
    }
    Ok(())
}

/// The violation of a pupil that nothing would name.
pub fn missing_identifier(field: &str) -> FieldViolation {
    FieldViolation::new(
        field,
        "MISSING_IDENTIFIER",
        "give a UPN or at least one MIS identifier: nothing else tells pupils apart",
    )
}

/// What giving a pupil a UPN does to its identifiers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UpnChange {
    /// The UPN, where no pupil had it.
    pub new: Option<IdentifierRow>,
    /// UPNs of the pupil that become current, or former.
    pub changed: Vec<IdentifierRow>,
    /// What deserves a look.
    pub warning: Option<(&'static str, &'static str)>,
}

/// Makes `upn` the pupil's UPN; the one before it stays as a former one, under which the pupil is found. With
/// `keep_permanent` a temporary UPN does not take the place of a permanent one, and becomes a former one itself: a system
/// that has not heard of the permanent UPN must not take it away.
pub fn give_upn(pupil_id: Uuid, stored: &[IdentifierRow], upn: &Upn, keep_permanent: bool) -> UpnChange {
    let mut change = UpnChange::default();
    let of_kind = || stored.iter().filter(|row| row.kind == KIND_UPN);
    let current = of_kind().find(|row| row.is_current);
    let there = of_kind().find(|row| row.value == upn.as_str());
    if there.is_some_and(|row| row.is_current) {
        return change;
    }
    let permanent = |value: &str| matches!(Upn::parse(value), Ok(Some(upn)) if !upn.is_temporary());
    let kept = keep_permanent && upn.is_temporary() && current.is_some_and(|row| permanent(&row.value));
    if kept {
        change.warning = Some((
            "UPN_NOT_REPLACED",
            "the pupil has a permanent UPN, which stays: the temporary one is kept as a former number",
        ));
    } else if let Some(current) = current {
        change.changed.push(with_current(current, false));
        change.warning = Some((
            "UPN_REPLACED",
            "the pupil had another UPN, which is kept as a former number under which the pupil is found",
        ));
    }
    match there {
        Some(_) if kept => {}
        Some(former) => change.changed.push(with_current(former, true)),
        None => {
            change.new = Some(IdentifierRow {
                pupil_id,
                kind: KIND_UPN,
                source: String::new(),
                value: upn.as_str().to_owned(),
                is_current: !kept,
            });
        }
    }
    change
}

/// The identifier as a current or as a former one.
pub fn with_current(row: &IdentifierRow, is_current: bool) -> IdentifierRow {
    IdentifierRow {
        is_current,
        ..row.clone()
    }
}

/// Whether an item that an MIS identifier alone has matched is likely of another child, for whom the system has used the
/// identifier again: it differs in at least two of permanent UPN, date of birth and both names, as far as both sides have them.
fn looks_like_another_child(there: &StoredPupil, input: &PupilInput) -> bool {
    let current = there
        .identifiers
        .iter()
        .find(|row| row.kind == KIND_UPN && row.is_current);
    let stored = current.and_then(|row| Upn::parse(&row.value).ok().flatten());
    let upns = match (&stored, &input.upn) {
        (Some(stored), Some(given)) => !stored.is_temporary() && !given.is_temporary() && stored != given,
        _ => false,
    };
    let births = match (there.row.date_of_birth, input.date_of_birth) {
        (Some(stored), Some(given)) => stored != given,
        _ => false,
    };
    let differ = |stored: &str, given: &str| {
        !stored.is_empty() && !given.is_empty() && stored.to_lowercase() != given.to_lowercase()
    };
    let names = differ(&there.row.given_name, &input.given_name) && differ(&there.row.family_name, &input.family_name);
    [upns, births, names].into_iter().filter(|differs| *differs).count() >= 2
}

/// What about a UPN deserves a look, as reason and message.
pub fn upn_warnings(upn: &Upn) -> impl Iterator<Item = (&'static str, &'static str)> {
    upn.warnings().into_iter().map(|warning| match warning {
        UpnWarning::CheckLetter => (
            "UPN_CHECK_LETTER",
            "the first letter of the UPN is not what its check sum gives: look for a mistyped character",
        ),
        UpnWarning::UnknownLocalAuthority => (
            "UPN_UNKNOWN_LOCAL_AUTHORITY",
            "characters 2 to 4 of the UPN are not the number of a local authority: look for a mistyped character",
        ),
    })
}

/// A warning about the UPN of an item.
pub fn upn_warning(item_index: usize, (reason, message): (&str, &str)) -> Warning {
    Warning {
        item_index,
        reason: reason.to_owned(),
        field: "upn".to_owned(),
        session: None,
        code: 0,
        message: message.to_owned(),
    }
}

#[derive(Default)]
struct EnrolmentChanges {
    new: Vec<EnrolmentRow>,
    changed: Vec<EnrolmentRow>,
}

impl<'a> Planner<'a> {
    /// Begins with what is stored and nothing to write.
    pub fn new(stored: &'a Stored, today: NaiveDate) -> Planner<'a> {
        Planner {
            stored,
            today,
            claimed_keys: HashSet::new(),
            claimed_pupils: HashSet::new(),
            writes: PupilWrites::default(),
            warnings: Vec::new(),
        }
    }

    /// Plans one item. One that is refused leaves nothing behind.
    pub fn item(
        &mut self,
        item_index: usize,
        input: &PupilInput,
    ) -> Result<Result<(PupilId, Effect), FieldViolation>, StoreError> {
        match self.plan(item_index, input) {
            Ok(taken) => Ok(Ok(taken)),
            Err(Refused::Field(violation)) => Ok(Err(violation)),
            Err(Refused::Store(error)) => Err(error),
        }
    }

    fn plan(&mut self, item_index: usize, input: &PupilInput) -> Result<(PupilId, Effect), Refused> {
        check_values(input, self.today)?;
        let keys = placed_keys(input);
        let there = self.matched(&keys)?;
        if let Some(there) = there
            && !self.matched_by_upn(input, there)
            && looks_like_another_child(there, input)
        {
            let place = keys.iter().find(|(_, key)| self.stored.resolved.contains_key(key));
            return Err(FieldViolation::new(
                place.map_or_else(String::new, |(place, _)| place.field()),
                "IDENTIFIER_REUSED",
                "the identifier is of a pupil who differs in at least two of UPN, date of birth and name: where the system has \
                 used it again for another child, call ReassignMisIdentifier; where it is the same child, UpdatePupil first",
            )
            .into());
        }
        let pupil = there.map_or_else(|| PupilId(Uuid::now_v7()), |there| PupilId(there.row.pupil_id));
        let enrolments = self.enrolments(pupil.0, input, there.map_or(&[], |there| &there.enrolments))?;

        // From here on the item is taken.
        let identifiers = there.map_or(&[][..], |there| &there.identifiers);
        let (new_identifiers, changed_identifiers) = self.identifiers(item_index, pupil.0, input, &keys, identifiers);
        let fields = fields(pupil.0, input, there.map(|there| &there.row));
        let effect = match there {
            None => Effect::Created,
            Some(there)
                if fields == stored_fields(&there.row)
                    && [&new_identifiers, &changed_identifiers]
                        .iter()
                        .all(|rows| rows.is_empty())
                    && [&enrolments.new, &enrolments.changed]
                        .iter()
                        .all(|rows| rows.is_empty()) =>
            {
                Effect::Unchanged
            }
            Some(_) => Effect::Updated,
        };
        match effect {
            Effect::Created => self.writes.new_pupils.push(fields),
            Effect::Updated => self.writes.changed_pupils.push(fields),
            Effect::Unchanged => {}
        }
        self.writes.new_identifiers.extend(new_identifiers);
        self.writes.changed_identifiers.extend(changed_identifiers);
        self.writes.new_enrolments.extend(enrolments.new);
        self.writes.changed_enrolments.extend(enrolments.changed);
        self.claimed_keys.extend(keys.into_iter().map(|(_, key)| key));
        self.claimed_pupils.insert(pupil);
        Ok((pupil, effect))
    }

    /// The pupil that the keys name; nothing where none does.
    fn matched(&self, keys: &[(Place, PupilKey)]) -> Result<Option<&'a StoredPupil>, FieldViolation> {
        let duplicate = |place: Place| {
            FieldViolation::new(
                place.field(),
                "DUPLICATE_ITEM",
                "an earlier item of the batch is of the same pupil or identifier: send each pupil once",
            )
        };
        if let Some((place, _)) = keys.iter().find(|(_, key)| self.claimed_keys.contains(key)) {
            return Err(duplicate(*place));
        }
        let mut matched: Option<(Place, PupilId)> = None;
        for (place, key) in keys {
            let Some(found) = self.stored.resolved.get(key).copied() else {
                continue;
            };
            match matched {
                None => matched = Some((*place, found)),
                Some((_, first)) if first == found => {}
                Some(_) => {
                    return Err(FieldViolation::new(
                        place.field(),
                        "IDENTIFIER_CONFLICT",
                        "the identifiers of this item are of two pupils: where they are one child, call MergePupils; where a \
                         system has used its identifier again for another child, ReassignMisIdentifier",
                    ));
                }
            }
        }
        let Some((place, pupil)) = matched else {
            return Ok(None);
        };
        if self.claimed_pupils.contains(&pupil) {
            return Err(duplicate(place));
        }
        Ok(self.stored.pupils.get(&pupil.0))
    }

    fn matched_by_upn(&self, input: &PupilInput, there: &StoredPupil) -> bool {
        let key = input.upn.clone().map(PupilKey::Upn);
        key.is_some_and(|key| self.stored.resolved.get(&key) == Some(&PupilId(there.row.pupil_id)))
    }

    /// Identifiers that are new, and those that become current or former.
    fn identifiers(
        &mut self,
        item_index: usize,
        pupil_id: Uuid,
        input: &PupilInput,
        keys: &[(Place, PupilKey)],
        stored: &[IdentifierRow],
    ) -> (Vec<IdentifierRow>, Vec<IdentifierRow>) {
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        if let Some(upn) = &input.upn {
            let change = give_upn(pupil_id, stored, upn, true);
            new.extend(change.new);
            changed.extend(change.changed);
            let warnings = upn_warnings(upn).chain(change.warning);
            self.warnings
                .extend(warnings.map(|warning| upn_warning(item_index, warning)));
        }
        for (kind, source, value) in keys.iter().filter_map(|(_, key)| stored_key(key)) {
            if kind == KIND_UPN {
                continue;
            }
            let there = |row: &&IdentifierRow| row.kind == kind && row.source == source && row.value == value;
            match stored.iter().find(there) {
                Some(row) if row.is_current => {}
                Some(row) => changed.push(with_current(row, true)),
                None => new.push(IdentifierRow {
                    pupil_id,
                    kind,
                    source: source.to_owned(),
                    value: value.to_owned(),
                    is_current: true,
                }),
            }
        }
        (new, changed)
    }

    fn enrolments(
        &self,
        pupil_id: Uuid,
        input: &PupilInput,
        stored: &[EnrolmentRow],
    ) -> Result<EnrolmentChanges, Refused> {
        let mut rows = stored.to_vec();
        // Which enrolment of the item each row is.
        let mut places: Vec<Option<usize>> = vec![None; rows.len()];
        for (place, enrolment) in input.enrolments.iter().enumerate() {
            let Some(school) = self.stored.schools.get(&enrolment.school) else {
                return Err(unknown_school(&format!("enrolments[{place}].school")).into());
            };
            let named = |(row, taken): (&EnrolmentRow, &Option<usize>)| {
                taken.is_none() && row.school_id == school.0 && row.start_date == enrolment.start
            };
            match rows.iter().zip(&places).position(named) {
                Some(there) => {
                    let row = &mut rows[there];
                    let last_mark = self.stored.last_marks.get(&row.enrolment_id);
                    if enrolment
                        .end
                        .is_some_and(|end| last_mark.is_some_and(|last| *last > end))
                    {
                        return Err(FieldViolation::new(
                            format!("enrolments[{place}].end_date"),
                            "MARKS_OUTSIDE_ENROLMENT",
                            "sessions after this day have marks: take those away first, or give a later last day",
                        )
                        .into());
                    }
                    row.kind = enrolment.kind.number();
                    row.end_date = enrolment.end;
                    places[there] = Some(place);
                }
                None => {
                    rows.push(EnrolmentRow {
                        pupil_id,
                        enrolment_id: Uuid::now_v7(),
                        school_id: school.0,
                        kind: enrolment.kind.number(),
                        start_date: enrolment.start,
                        end_date: enrolment.end,
                    });
                    places.push(Some(place));
                }
            }
        }
        let spans = rows.iter().map(EnrolmentRow::span).collect::<Result<Vec<_>, _>>()?;
        if let Some((first, second)) = incompatible_pair(&spans) {
            // What is stored is compatible, so at least one of the two is of the item.
            let place = places[second].or(places[first]).unwrap_or_default();
            return Err(FieldViolation::new(
                format!("enrolments[{place}]"),
                "OVERLAPPING_ENROLMENT",
                "two enrolments of the pupil overlap, which only main and subsidiary at two schools may: give the last day \
                 of the earlier one",
            )
            .into());
        }
        let new = rows.split_off(stored.len());
        let changed = rows.into_iter().zip(stored).filter(|(row, there)| row != *there);
        Ok(EnrolmentChanges {
            new,
            changed: changed.map(|(row, _)| row).collect(),
        })
    }
}

/// The violation of a school that the trust does not have.
pub fn unknown_school(field: &str) -> FieldViolation {
    FieldViolation::new(
        field,
        "UNKNOWN_SCHOOL",
        "the trust has no such school: name one by its UUID or by its URN of 6 digits, or create it first",
    )
}

/// A violation as the rejection of an item.
pub fn rejection(item_index: usize, violation: &FieldViolation) -> Rejection {
    Rejection::new(
        item_index,
        violation.field.as_str(),
        violation.reason,
        violation.message.as_str(),
    )
}

/// The fields as they are stored.
pub fn stored_fields(row: &PupilRow) -> PupilFields {
    PupilFields {
        pupil_id: row.pupil_id,
        given_name: row.given_name.clone(),
        family_name: row.family_name.clone(),
        date_of_birth: row.date_of_birth,
        year_group: row.year_group,
    }
}

/// The fields as an item leaves them: what it does not give stays.
fn fields(pupil_id: Uuid, input: &PupilInput, there: Option<&PupilRow>) -> PupilFields {
    let name = |given: &str, stored: Option<&String>| match stored {
        Some(stored) if given.is_empty() => stored.clone(),
        _ => given.to_owned(),
    };
    PupilFields {
        pupil_id,
        given_name: name(&input.given_name, there.map(|row| &row.given_name)),
        family_name: name(&input.family_name, there.map(|row| &row.family_name)),
        date_of_birth: input.date_of_birth.or(there.and_then(|row| row.date_of_birth)),
        year_group: input.year_group.or(there.and_then(|row| row.year_group)),
    }
}

/// Why an item was not planned.
enum Refused {
    Field(FieldViolation),
    Store(StoreError),
}

impl From<FieldViolation> for Refused {
    fn from(violation: FieldViolation) -> Refused {
        Refused::Field(violation)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        Refused::Store(error)
    }
}

#[cfg(test)]
mod tests;
