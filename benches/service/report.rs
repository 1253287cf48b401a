//! Figures: medians with their spread, ratios, a table for people and a list for machines.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::error::BenchError;

/// The figures of one contender's runs.
#[derive(Clone, Debug, Default)]
pub struct Figures(pub Vec<f64>);

impl Figures {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            length if length.is_multiple_of(2) => (sorted[length / 2 - 1] + sorted[length / 2]) / 2.0,
            length => sorted[length / 2],
        }
    }

    fn spread(&self) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} to {}", grouped(least), grouped(most))
    }
}

/// What a ratio has to be.
#[derive(Clone, Copy, Debug)]
pub enum Claim {
    /// At least so much.
    AtLeast(f64),
    /// At the most so much.
    AtMost(f64),
}

/// What one measurement found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its stable name.
    pub name: &'static str,
    /// What is measured in.
    pub unit: &'static str,
    /// What the ratio of the medians, the service's over the other's, has to be.
    pub claim: Claim,
    /// The service's runs.
    pub work: Figures,
    /// The runs of what it is compared with.
    pub against: Figures,
    /// What each was, and whatever else is worth knowing.
    pub notes: Vec<String>,
}

impl Outcome {
    fn ratio(&self) -> f64 {
        self.work.median() / self.against.median()
    }
}

/// An outcome in `results.json`. Medians.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    ratio: f64,
    work: f64,
    against: f64,
    runs: usize,
    unit: &'static str,
}

/// What the bench found.
#[derive(Default)]
pub struct Report(Vec<Outcome>);

impl Report {
    /// Adds outcomes.
    pub fn add(&mut self, outcomes: Vec<Outcome>) {
        self.0.extend(outcomes);
    }

    /// The table for people, with the notes below it.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        table.set_header([
            "", "unit", "service", "spread", "against", "spread", "runs", "ratio", "claim",
        ]);
        let mut notes = String::new();
        for outcome in &self.0 {
            let ratio = outcome.ratio();
            let (sign, claimed, holds) = match outcome.claim {
                Claim::AtLeast(claimed) => (">=", claimed, ratio >= claimed),
                Claim::AtMost(claimed) => ("<=", claimed, ratio <= claimed),
            };
            let verdict = if holds { "holds" } else { "does not hold" };
            table.add_row([
                outcome.name.to_owned(),
                outcome.unit.to_owned(),
                grouped(outcome.work.median()),
                outcome.work.spread(),
                grouped(outcome.against.median()),
                outcome.against.spread(),
                outcome.work.0.len().to_string(),
                format!("{ratio:.2}"),
                format!("{sign} {claimed}: {verdict}"),
            ]);
            for note in &outcome.notes {
                // Writing to a string does not fail.
                let _ = writeln!(notes, "{}: {note}", outcome.name);
            }
        }
        for column in [2, 4, 6, 7] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("\nMedians, with the least and the most.\n{table}\n\n{notes}")
    }

    /// Writes `results.json`, and returns where it is.
    pub fn write(&self) -> Result<PathBuf, BenchError> {
        // The bench lies in `target/release/deps`, whatever `target` is.
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
        let directory = target.join("bench");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join("results.json");
        let lines: Vec<Line> = self
            .0
            .iter()
            .map(|outcome| Line {
                name: outcome.name,
                ratio: outcome.ratio(),
                work: outcome.work.median(),
                against: outcome.against.median(),
                runs: outcome.work.0.len(),
                unit: outcome.unit,
            })
            .collect();
        std::fs::write(&path, serde_json::to_string_pretty(&lines)? + "\n")?;
        Ok(path)
    }
}

/// A figure for people: three digits at the least, thousands apart.
pub fn grouped(figure: f64) -> String {
    if figure < 100.0 {
        return format!("{figure:.2}");
    }
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
