//! HTML that cannot be broken by what is written into it: markup is part of the program, and everything else is escaped.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Europe::London;
use prost_types::Timestamp;

use crate::proto::{Date, Person, Session, SessionHalf};

/// A page while it is written.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// What was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Markup that the program itself holds.
    pub fn markup(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Text, also within the quotes of an attribute.
    pub fn text(&mut self, text: &str) -> &mut Html {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // What is no character of HTML is left out.
                '\n' | '\t' => self.0.push(character),
                character if character.is_control() => {}
                character => self.0.push(character),
            }
        }
        self
    }

    /// A heading of a section, and its beginning.
    pub fn section(&mut self, heading: &'static str) -> &mut Html {
        self.markup("<section>\n<h2>").text(heading).markup("</h2>\n")
    }

    /// A paragraph that says that there is nothing.
    pub fn nothing(&mut self, text: &'static str) -> &mut Html {
        self.markup("<p class=\"nothing\">").text(text).markup("</p>\n")
    }

    /// A term and what is said about it.
    pub fn term(&mut self, term: &'static str, text: &str) -> &mut Html {
        self.markup("<div><dt>")
            .text(term)
            .markup("</dt><dd>")
            .text(text)
            .markup("</dd></div>\n")
    }

    /// A table, with a column of each heading, whose classes say how wide it is.
    pub fn table(
        &mut self,
        class: &'static str,
        caption: &'static str,
        headings: &[&'static str],
        rows: &[Vec<String>],
    ) {
        self.markup("<table class=\"")
            .markup(class)
            .markup("\">\n<caption>")
            .text(caption);
        self.markup("</caption>\n<thead><tr>");
        for heading in headings {
            self.markup("<th scope=\"col\">").text(heading).markup("</th>");
        }
        self.markup("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.markup("<tr>");
            for cell in row {
                self.markup("<td>").text(cell).markup("</td>");
            }
            self.markup("</tr>\n");
        }
        self.markup("</tbody>\n</table>\n");
    }
}

/// A date of the contract; nothing where there is none.
pub fn date(date: Option<&Date>) -> Option<NaiveDate> {
    let date = date?;
    NaiveDate::from_ymd_opt(date.year, date.month.try_into().ok()?, date.day.try_into().ok()?)
}

/// A day as people write it: `5 Sep 2025`; empty where there is none.
pub fn day_text(day: Option<&Date>) -> String {
    date(day).map(short_day).unwrap_or_default()
}

/// A day as people write it: `5 Sep 2025`.
pub fn short_day(day: NaiveDate) -> String {
    day.format("%-d %b %Y").to_string()
}

/// The same in full: `5 September 2025`.
pub fn long_day(day: NaiveDate) -> String {
    day.format("%-d %B %Y").to_string()
}

fn instant(time: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let time = time?;
    DateTime::from_timestamp(time.seconds, time.nanos.try_into().ok()?)
}

/// The day of a time in London: `5 Sep 2025`; empty where there is none.
pub fn time_day_text(time: Option<&Timestamp>) -> String {
    instant(time)
        .map(|time| short_day(time.with_timezone(&London).date_naive()))
        .unwrap_or_default()
}

/// A time in London: `5 Sep 2025, 14:05`; empty where there is none.
pub fn time_text(time: Option<&Timestamp>) -> String {
    instant(time)
        .map(|time| time.with_timezone(&London).format("%-d %b %Y, %H:%M").to_string())
        .unwrap_or_default()
}

/// A session: `5 Sep 2025 AM`; empty where there is none.
pub fn session_words(session: Option<&Session>) -> String {
    let Some(session) = session else {
        return String::new();
    };
    let half = match session.half() {
        SessionHalf::Am => " AM",
        SessionHalf::Pm => " PM",
        SessionHalf::Unspecified => "",
    };
    day_text(session.date.as_ref()) + half
}

/// A person by name and position; empty where there is none.
pub fn person_text(person: Option<&Person>) -> String {
    let Some(person) = person else {
        return String::new();
    };
    let parts = [person.name.as_str(), person.position.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

/// Lines of a cell, those that are empty left out.
pub fn lines_of(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().copied().filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// With a capital letter at its beginning.
pub fn capital(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
