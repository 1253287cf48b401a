//! The keys of a table: each is taken once, and what is left was not understood.

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use toml::{Table, Value};

use super::Misread;

pub struct Keys<'a> {
    table: &'a Table,
    name: &'a str,
    taken: BTreeSet<String>,
}

impl<'a> Keys<'a> {
    pub fn of(table: &'a Table, name: &'a str) -> Keys<'a> {
        Keys {
            table,
            name,
            taken: BTreeSet::new(),
        }
    }

    pub fn take(&mut self, key: &str) -> Option<&'a Value> {
        self.taken.insert(key.to_owned());
        self.table.get(key)
    }

    pub fn require(&mut self, key: &str) -> Result<&'a Value, Misread> {
        let found = self.take(key);
        found.ok_or_else(|| format!("{} has no `{key}`", self.name))
    }

    /// An array of texts, or a single one; nothing for a key that is not there.
    pub fn texts(&mut self, key: &str) -> Result<Vec<&'a str>, Misread> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(many)) => many.iter().map(|value| text(value, key)).collect(),
            Some(_) => Err(format!("`{key}` is no array of texts")),
        }
    }

    /// The days of an array of `DATE` and `DATE..DATE`.
    pub fn days(&mut self, key: &str) -> Result<Vec<NaiveDate>, Misread> {
        let texts = self.texts(key)?;
        let ranges = texts.into_iter().map(days_of).collect::<Result<Vec<_>, _>>()?;
        Ok(ranges.into_iter().flatten().collect())
    }

    /// Refuses keys that nobody took.
    pub fn finish(self) -> Result<(), Misread> {
        match self.table.keys().find(|key| !self.taken.contains(*key)) {
            Some(key) => Err(format!("{} has a key that is not understood: `{key}`", self.name)),
            None => Ok(()),
        }
    }
}

/// A text. A date that TOML reads by itself is a text as well.
pub fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, Misread> {
    value.as_str().ok_or_else(|| format!("`{key}` is no text"))
}

pub fn date(text: &str) -> Result<NaiveDate, Misread> {
    text.parse().map_err(|_| format!("{text} is no date"))
}

/// The days of `DATE` or `DATE..DATE`, both ends included.
pub fn days_of(text: &str) -> Result<Vec<NaiveDate>, Misread> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (date(from)?, date(to)?);
    if from > to {
        return Err(format!("{text} ends before it begins"));
    }
    let days = u64::try_from((to - from).num_days()).map_err(|_| format!("{text} is no range"))?;
    Ok((0..=days).map(|day| from + Days::new(day)).collect())
}
