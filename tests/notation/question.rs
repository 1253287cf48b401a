//! What a case expects to be found, and of which day and which moment.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use graduated_response::domain::session::london_date;
use toml::{Table, Value};

use super::keys::{Keys, date, text};
use super::line::Place;
use super::{Asked, Misread};

/// A question with its answer.
#[derive(Debug)]
pub struct Question {
    /// `expect`, or `view 1` and so on.
    pub name: String,
    /// The day of which it asks; nothing for a case of bare counts.
    pub day: Option<NaiveDate>,
    /// The moment whose London date is that day, where the case names one.
    pub instant: Option<DateTime<Utc>>,
    /// By the end of which day the answer was known; nothing for all that was ever recorded.
    pub known_on: Option<NaiveDate>,
    pub wanted: Wanted,
}

/// What is to be found. What is absent is not asked for, but where it says otherwise.
#[derive(Debug, Default)]
pub struct Wanted {
    pub attended: Option<i64>,
    pub possible: Option<i64>,
    pub authorised: Option<i64>,
    pub unauthorised: Option<i64>,
    pub not_possible: Option<i64>,
    pub stage: Option<String>,
    pub display: Option<String>,
    /// False where a stage is expected and this is not said.
    pub too_little: Option<bool>,
    /// The complete list.
    pub thresholds: Option<Vec<String>>,
    /// None where an expectation does not say.
    pub warnings: Option<Vec<String>>,
    pub enrolments: Vec<EnrolmentWanted>,
    pub bytes: BTreeMap<Place, usize>,
    pub codes: BTreeMap<String, i64>,
    pub lost_quarter_hours: Option<i64>,
    pub error: Option<String>,
}

/// What is to be found of one enrolment alone.
#[derive(Debug)]
pub struct EnrolmentWanted {
    /// As written: a school, the beginning of a line of `given.enrolments`, or the place of one from 1.
    pub enrolment: String,
    pub wanted: Wanted,
}

/// The day or the moment that is asked for.
pub fn asked(keys: &mut Keys<'_>) -> Result<Asked, Misread> {
    let day = keys.take("as_of").map(|day| date(text(day, "as_of")?)).transpose()?;
    let Some(instant) = keys.take("as_of_instant") else {
        return Ok((day, None));
    };
    let instant = text(instant, "as_of_instant")?;
    let instant: DateTime<Utc> = instant.parse().map_err(|_| format!("{instant} is no moment"))?;
    if day.is_some() {
        return Err("`as_of` and `as_of_instant` exclude each other".into());
    }
    Ok((Some(london_date(instant)), Some(instant)))
}

impl Question {
    /// Reads an expectation (`of_case`) or a view. A view that names no day asks for that of the case.
    pub fn read(name: &str, table: &Table, of_case_asked: Asked, of_case: bool) -> Result<Question, Misread> {
        let mut keys = Keys::of(table, name);
        let mut asked_here = if of_case { (None, None) } else { asked(&mut keys)? };
        if asked_here.0.is_none() {
            asked_here = of_case_asked;
        }
        let known_on = if of_case { None } else { keys.take("known_on") };
        let known_on = known_on.map(|day| date(text(day, "known_on")?)).transpose()?;
        let mut wanted = Wanted::read(&mut keys)?;
        keys.finish()?;
        if of_case && wanted.error.is_none() {
            wanted.warnings.get_or_insert_default();
        }
        if wanted.error.is_some() && table.len() > 1 {
            return Err(format!("{name} expects an error and something else"));
        }
        Ok(Question {
            name: name.to_owned(),
            day: asked_here.0,
            instant: asked_here.1,
            known_on,
            wanted,
        })
    }
}

impl Wanted {
    fn read(keys: &mut Keys<'_>) -> Result<Wanted, Misread> {
        let mut wanted = Wanted::default();
        {
            let mut count = |key: &str| {
                let found = keys.take(key).map(|count| whole(count, key));
                found.transpose()
            };
            wanted.attended = count("attended")?;
            wanted.possible = count("possible")?;
            wanted.authorised = count("authorised")?;
            wanted.unauthorised = count("unauthorised")?;
            wanted.not_possible = count("not_possible")?;
            wanted.lost_quarter_hours = count("lost_quarter_hours")?;
        }
        wanted.stage = keys.take("stage").map(stage).transpose()?;
        wanted.display = owned(keys, "display")?;
        wanted.error = owned(keys, "error")?;
        if let Some(too_little) = keys.take("too_little") {
            wanted.too_little = Some(too_little.as_bool().ok_or("`too_little` is true or false")?);
        } else if wanted.stage.is_some() {
            wanted.too_little = Some(false);
        }
        for (key, list) in [
            ("thresholds", &mut wanted.thresholds),
            ("warnings", &mut wanted.warnings),
        ] {
            if keys.take(key).is_some() {
                *list = Some(keys.texts(key)?.into_iter().map(str::to_owned).collect());
            }
        }
        for (session, index) in table(keys, "bytes")? {
            let index = usize::try_from(whole(index, "bytes")?).map_err(|_| "`bytes` are places in a register")?;
            wanted.bytes.insert(Place::read(session)?, index);
        }
        for (code, count) in table(keys, "codes")? {
            wanted.codes.insert(code.clone(), whole(count, "codes")?);
        }
        if let Some(enrolment) = keys.take("enrolment").or_else(|| keys.take("enrolments")) {
            wanted.enrolments = of_enrolments(enrolment, &mut wanted)?;
        }
        Ok(wanted)
    }
}

fn whole(value: &Value, key: &str) -> Result<i64, Misread> {
    value.as_integer().ok_or_else(|| format!("`{key}` is no whole number"))
}

fn stage(value: &Value) -> Result<String, Misread> {
    match value {
        Value::String(stage) => Ok(stage.clone()),
        Value::Integer(stage) => Ok(stage.to_string()),
        _ => Err("`stage` is no stage".into()),
    }
}

fn owned(keys: &mut Keys<'_>, key: &str) -> Result<Option<String>, Misread> {
    let found = keys.take(key).map(|found| text(found, key));
    Ok(found.transpose()?.map(str::to_owned))
}

fn table<'a>(keys: &mut Keys<'a>, key: &str) -> Result<Vec<(&'a String, &'a Value)>, Misread> {
    match keys.take(key) {
        None => Ok(Vec::new()),
        Some(Value::Table(table)) => Ok(table.iter().collect()),
        Some(_) => Err(format!("`{key}` is no table")),
    }
}

/// The three ways to speak of enrolments alone: one by name, of which the whole expectation then speaks; a table from
/// enrolment to expectation; and an array of expectations that name theirs by `school` or `enrolment`.
fn of_enrolments(value: &Value, whole: &mut Wanted) -> Result<Vec<EnrolmentWanted>, Misread> {
    let expectation = |enrolment: String, table: &Table, own_key: &str| {
        let mut keys = Keys::of(table, "the expectation of an enrolment");
        if !own_key.is_empty() {
            keys.take(own_key);
        }
        let wanted = Wanted::read(&mut keys)?;
        keys.finish()?;
        Ok::<_, Misread>(EnrolmentWanted { enrolment, wanted })
    };
    match value {
        Value::String(_) | Value::Integer(_) => {
            let enrolment = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let wanted = Wanted {
                attended: whole.attended.take(),
                possible: whole.possible.take(),
                authorised: whole.authorised.take(),
                unauthorised: whole.unauthorised.take(),
                stage: whole.stage.take(),
                display: whole.display.take(),
                too_little: whole.too_little.take(),
                ..Wanted::default()
            };
            Ok(vec![EnrolmentWanted { enrolment, wanted }])
        }
        Value::Table(by_enrolment) => {
            let read = |(name, value): (&String, &Value)| match value {
                Value::Table(table) => expectation(name.clone(), table, ""),
                // `{ S1 = "4" }` names the stage alone.
                stage_alone => Ok(EnrolmentWanted {
                    enrolment: name.clone(),
                    wanted: Wanted {
                        stage: Some(stage(stage_alone)?),
                        ..Wanted::default()
                    },
                }),
            };
            by_enrolment.iter().map(read).collect()
        }
        Value::Array(expectations) => {
            let read = |value: &Value| {
                let table = value.as_table().ok_or("`enrolment` lists tables")?;
                let key = ["enrolment", "school"].into_iter().find(|key| table.contains_key(*key));
                let key = key.ok_or("an enrolment's expectation names no enrolment")?;
                expectation(text(&table[key], key)?.to_owned(), table, key)
            };
            expectations.iter().map(read).collect()
        }
        _ => Err("`enrolment` is not understood".into()),
    }
}
