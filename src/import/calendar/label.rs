//! What a label says: `Autumn term 1`, `Half term`, `INSET day`, `Early May bank holiday`.
//!
//! A label that may open days has to be understood in every word: `End of term assembly` is no term. One that closes them
//! has to hold a word that does, and none that makes it a single day's news of something longer.

use super::entries::Meaning;

const INSET: [&str; 13] = [
    "inset",
    "insets",
    "training day",
    "training days",
    "staff training",
    "teacher training",
    "staff development",
    "professional development",
    "non pupil day",
    "non pupil days",
    "pd day",
    "pd days",
    "cpd day",
];
const CLOSED: [&str; 25] = [
    "holiday",
    "holidays",
    "half term",
    "halfterm",
    "closed",
    "closure",
    "closures",
    "bank holiday",
    "bank hol",
    "break",
    "vacation",
    "easter monday",
    "good friday",
    "christmas day",
    "boxing day",
    "new years day",
    "may day",
    "no school",
    "occasional day",
    "occasional days",
    "disaggregated day",
    "disaggregated days",
    "disaggregated",
    "polling day",
    "election day",
];
const BEGINS: [&str; 8] = [
    "begins",
    "begin",
    "starts",
    "start",
    "first day",
    "return",
    "returns",
    "reopens",
];
const ENDS: [&str; 8] = [
    "ends",
    "end",
    "finishes",
    "finish",
    "last day",
    "closes",
    "break up",
    "breaks up",
];
const SEASONS: [&str; 3] = ["autumn", "spring", "summer"];
/// What may stand beside the name of a term without changing what it is.
const FILLERS: [&str; 31] = [
    "term", "terms", "time", "school", "schools", "day", "days", "open", "in", "session", "half", "to", "for",
    "pupils", "students", "of", "the", "part", "a", "b", "one", "two", "three", "year", "academic", "first", "second",
    "last", "break", "breaks", "up",
];

/// The label in small letters, words alone, with a blank before and after each.
fn words(label: &str) -> String {
    let mut folded = String::from(" ");
    for character in label.chars().flat_map(char::to_lowercase) {
        match character {
            '\'' | '\u{2019}' => {}
            letter if letter.is_alphanumeric() => folded.push(letter),
            _ if folded.ends_with(' ') => {}
            _ => folded.push(' '),
        }
    }
    if !folded.ends_with(' ') {
        folded.push(' ');
    }
    folded
}

fn has(folded: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| folded.contains(&format!(" {phrase} ")))
}

/// The name of the term that a label is about: the season, `term 3`, or nothing.
fn term_name(folded: &str) -> String {
    if let Some(season) = SEASONS.into_iter().find(|season| has(folded, &[season])) {
        return season.to_owned();
    }
    let mut tokens = folded.split_whitespace();
    while let Some(token) = tokens.next() {
        if token == "term"
            && let Some(number) = tokens.next().and_then(|token| token.parse::<u8>().ok())
            && (1..=6).contains(&number)
        {
            return format!("term {number}");
        }
    }
    String::new()
}

/// What a label says of its days.
pub(super) fn meaning(label: &str) -> Meaning {
    let folded = words(label);
    if has(&folded, &["twilight", "non term", "not term", "outside term"]) {
        return Meaning::Unknown;
    }
    let tokens: Vec<&str> = folded.split_whitespace().collect();
    let any = |known: &[&str]| tokens.iter().any(|token| known.contains(token));
    // `Break up`, `first day`, `last day of term`: news of a day, not the days themselves.
    let (begins, ends) = (has(&folded, &BEGINS), has(&folded, &ENDS));
    if has(&folded, &INSET) {
        return Meaning::Inset;
    }
    if has(&folded, &CLOSED) && !has(&folded, &["break up", "breaks up"]) {
        return if begins || ends {
            Meaning::Unknown
        } else {
            Meaning::Closed
        };
    }
    let is_number = |token: &str| token.bytes().all(|byte| byte.is_ascii_digit());
    let understood = tokens.iter().all(|token| {
        SEASONS.contains(token)
            || FILLERS.contains(token)
            || BEGINS.contains(token)
            || ENDS.contains(token)
            || is_number(token)
    });
    let seasonal = any(&SEASONS) && tokens.iter().any(|token| is_number(token) && token.len() == 1);
    let is_term = any(&["term", "terms"]) || seasonal;
    let is_school = has(
        &folded,
        &[
            "school day",
            "school days",
            "school open",
            "open to pupils",
            "in session",
        ],
    );
    match (understood && (is_term || is_school), begins, ends) {
        (false, _, _) | (true, true, true) => Meaning::Unknown,
        (true, true, false) => Meaning::TermBegins(term_name(&folded)),
        (true, false, true) => Meaning::TermEnds(term_name(&folded)),
        (true, false, false) => Meaning::Term(term_name(&folded)),
    }
}

/// What the kind of a CSV's row says; `label` gives a term its name. An empty kind leaves it to the label.
pub(super) fn meaning_of_kind(kind: &str, label: &str) -> Option<Meaning> {
    let folded = words(kind);
    let meaning = match folded.trim() {
        "" => meaning(label),
        "term" | "term time" | "term day" | "term days" => {
            let name = term_name(&words(label));
            let own = words(label).trim().to_owned();
            Meaning::Term(if name.is_empty() { super::shown(&own) } else { name })
        }
        "open" | "school day" | "school days" | "extra" | "extra day" | "school" => Meaning::Open,
        "inset" | "inset day" | "training" | "training day" | "staff training" => Meaning::Inset,
        "closure" | "closed" | "close" | "holiday" | "holidays" | "half term" | "bank holiday" | "break"
        | "disaggregated" | "disaggregated day" | "occasional day" => Meaning::Closed,
        _ => return None,
    };
    Some(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_councils_use_are_understood() {
        let term = |name: &str| Meaning::Term(name.to_owned());
        for (label, expected) in [
            ("Autumn Term", term("autumn")),
            ("Autumn term 1 2025/26", term("autumn")),
            ("SPRING 2", term("spring")),
            ("Term 3", term("term 3")),
            ("Term time", term("")),
            ("School day", term("")),
            ("School open to pupils", term("")),
            ("Autumn term - first half", term("autumn")),
            ("Break up for summer term", Meaning::TermEnds("summer".into())),
            ("Summer term begins", Meaning::TermBegins("summer".into())),
            ("First day of term", Meaning::TermBegins(String::new())),
            ("Last day of Summer Term", Meaning::TermEnds("summer".into())),
            ("Term ends", Meaning::TermEnds(String::new())),
            ("Half-term", Meaning::Closed),
            ("October half term holiday", Meaning::Closed),
            ("Summer holidays", Meaning::Closed),
            ("Early May Bank Holiday", Meaning::Closed),
            ("New Year\u{2019}s Day", Meaning::Closed),
            ("Christmas break", Meaning::Closed),
            ("Disaggregated day", Meaning::Closed),
            ("School closed to pupils - INSET", Meaning::Inset),
            ("Staff training day", Meaning::Inset),
        ] {
            assert_eq!(meaning(label), expected, "{label}");
        }
    }

    #[test]
    fn a_label_that_only_mentions_a_term_or_a_holiday_is_not_taken_for_one() {
        for label in [
            "",
            "Autumn",
            "Sports day",
            "End of term assembly",
            "Autumn term parents' evening",
            "Summer term fair",
            "Term dates",
            "Half term begins",
            "Last day before half term holiday",
            "Twilight INSET",
            "Non-term time",
            "Breakfast club",
            "Year 6 SATs",
            "Long term plan",
        ] {
            assert_eq!(meaning(label), Meaning::Unknown, "{label}");
        }
    }

    #[test]
    fn a_kind_goes_before_the_label_and_an_unknown_one_is_none() {
        assert_eq!(meaning_of_kind("Bank holiday", "Autumn term"), Some(Meaning::Closed));
        assert_eq!(
            meaning_of_kind("term", "Michaelmas"),
            Some(Meaning::Term("michaelmas".into()))
        );
        assert_eq!(
            meaning_of_kind("term", "Autumn 2"),
            Some(Meaning::Term("autumn".into()))
        );
        assert_eq!(meaning_of_kind("", "Half term"), Some(Meaning::Closed));
        assert_eq!(meaning_of_kind("open", "Founder's Day"), Some(Meaning::Open));
        assert_eq!(meaning_of_kind("event", "Autumn term"), None);
    }
}
