//! The chart of a case file: attendance to date, week by week, over the bands of the stages.

use chrono::{Datelike as _, Days, NaiveDate};

use super::html::{Html, short_day};
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::proto::{LowerBound, Register};

/// The attendance from the first day of the academic year to the end of a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekPoint {
    /// The week's Monday.
    pub monday: NaiveDate,
    /// The counts up to its end.
    pub to_date: Tally,
}

/// The weeks of an academic year up to a day in which a session was possible, each with the attendance to its end, over all
/// registers of the year.
pub fn weeks(registers: &[Register], year: AcademicYear, as_of: NaiveDate) -> Vec<WeekPoint> {
    let of_year = |register: &&Register| register.academic_year == i32::from(year.start_year());
    let first = year.first_day();
    let mut monday = first - Days::new(u64::from(first.weekday().num_days_from_monday()));
    let (mut to_date, mut from, mut points) = (Tally::default(), 0, Vec::new());
    while monday <= as_of {
        let sunday = monday + Days::new(6);
        let to = year.sessions_to(sunday.min(as_of));
        let week: Tally = registers
            .iter()
            .filter(of_year)
            .flat_map(|register| register.marks.iter().take(to).skip(from))
            .map(|mark| Tally::of_mark(u8::try_from(*mark).unwrap_or_default()))
            .sum();
        to_date += week;
        if week.possible > 0 {
            points.push(WeekPoint { monday, to_date });
        }
        (from, monday) = (to, monday + Days::new(7));
    }
    points
}

const WIDTH: i64 = 720;
const HEIGHT: i64 = 300;
const LEFT: i64 = 46;
const RIGHT: i64 = 64;
const TOP: i64 = 12;
const BOTTOM: i64 = 44;

/// What the bands are called, and how they are shaded, from the one of least need on.
const BANDS: [(&str, &str); 6] = [
    ("Stage U", "band-u"),
    ("Stage 1", "band-1"),
    ("Stage 2", "band-2"),
    ("Stage 3", "band-3"),
    ("Stage 4", "band-4"),
    ("Stage 5", "band-5"),
];

/// The part of the chart in which attendance is drawn: from 100% down to some multiple of ten.
struct Scale {
    first: NaiveDate,
    weeks: i64,
    lowest_tenths: i64,
}

impl Scale {
    fn of(points: &[WeekPoint]) -> Option<Scale> {
        let (first, last) = (points.first()?.monday, points.last()?.monday);
        let lowest = points
            .iter()
            .filter_map(|point| point.to_date.attendance_tenths())
            .min()?;
        let lowest = i64::try_from(lowest).unwrap_or_default();
        Some(Scale {
            first,
            weeks: (last - first).num_weeks().max(1),
            lowest_tenths: ((lowest - 30) / 100 * 100).clamp(0, 800),
        })
    }

    fn x(&self, monday: NaiveDate) -> i64 {
        LEFT + 6 + (monday - self.first).num_weeks() * (WIDTH - LEFT - RIGHT - 12) / self.weeks
    }

    fn y(&self, tenths: i64) -> i64 {
        let tenths = tenths.clamp(self.lowest_tenths, 1000);
        TOP + (1000 - tenths) * (HEIGHT - TOP - BOTTOM) / (1000 - self.lowest_tenths)
    }
}

/// A number of an attribute.
fn number(page: &mut Html, before: &'static str, value: i64) {
    page.markup(before).text(&value.to_string()).markup("\"");
}

fn line(page: &mut Html, class: &'static str, [x1, y1, x2, y2]: [i64; 4]) {
    page.markup("<line class=\"").markup(class).markup("\"");
    for (name, value) in [(" x1=\"", x1), (" y1=\"", y1), (" x2=\"", x2), (" y2=\"", y2)] {
        number(page, name, value);
    }
    page.markup("/>\n");
}

fn label(page: &mut Html, class: &'static str, x: i64, y: i64, text: &str) {
    page.markup("<text class=\"").markup(class).markup("\"");
    number(page, " x=\"", x);
    number(page, " y=\"", y);
    page.markup(">").text(text).markup("</text>\n");
}

/// Draws the chart; nothing where no session was possible.
pub fn draw(page: &mut Html, points: &[WeekPoint], bounds: &[LowerBound]) {
    let (Some(scale), Some(last)) = (Scale::of(points), points.last()) else {
        page.nothing("No session of this academic year has a mark yet.");
        return;
    };
    page.markup("<svg role=\"img\" aria-labelledby=\"chart-title chart-text\" xmlns=\"http://www.w3.org/2000/svg\" ");
    page.markup("viewBox=\"0 0 720 300\">\n<title id=\"chart-title\">Attendance to date by week</title>\n");
    page.markup("<desc id=\"chart-text\">")
        .text(&description(points))
        .markup("</desc>\n");
    bands(page, &scale, bounds);
    axes(page, &scale, points);
    page.markup("<polyline class=\"curve\" points=\"");
    for point in points {
        let (x, y) = place(&scale, point);
        page.text(&format!("{x},{y} "));
    }
    page.markup("\"/>\n");
    for point in points {
        let (x, y) = place(&scale, point);
        page.markup("<circle class=\"point\" r=\"2\"");
        number(page, " cx=\"", x);
        number(page, " cy=\"", y);
        page.markup("/>\n");
    }
    let (x, y) = place(&scale, last);
    label(
        page,
        "value",
        x - 4,
        if y < TOP + 24 { y + 18 } else { y - 9 },
        &format!("{}%", last.to_date.attendance_percent()),
    );
    page.markup("</svg>\n");
}

fn place(scale: &Scale, point: &WeekPoint) -> (i64, i64) {
    let tenths = point.to_date.attendance_tenths().unwrap_or_default();
    (
        scale.x(point.monday),
        scale.y(i64::try_from(tenths).unwrap_or_default()),
    )
}

fn bands(page: &mut Html, scale: &Scale, bounds: &[LowerBound]) {
    let lowers = bounds.iter().map(|bound| i64::from(bound.tenths)).chain([0]);
    let mut upper = 1000;
    for ((name, class), lower) in BANDS.into_iter().zip(lowers) {
        let (top, bottom) = (scale.y(upper), scale.y(lower));
        if bottom > top {
            page.markup("<rect class=\"").markup(class).markup("\"");
            number(page, " x=\"", LEFT);
            number(page, " y=\"", top);
            number(page, " width=\"", WIDTH - LEFT - RIGHT);
            number(page, " height=\"", bottom - top);
            page.markup("/>\n");
            if bottom - top >= 9 {
                label(page, "band", WIDTH - RIGHT + 6, (top + bottom) / 2 + 4, name);
            }
        }
        upper = lower;
    }
}

fn axes(page: &mut Html, scale: &Scale, points: &[WeekPoint]) {
    let floor = HEIGHT - BOTTOM;
    for tenths in (scale.lowest_tenths..=1000).step_by(if scale.lowest_tenths >= 500 { 50 } else { 100 }) {
        let y = scale.y(tenths);
        line(page, "grid", [LEFT, y, WIDTH - RIGHT, y]);
        label(page, "tick-y", LEFT - 6, y + 4, &(tenths / 10).to_string());
    }
    let mut month = None;
    for point in points {
        if month != Some(point.monday.month()) {
            month = Some(point.monday.month());
            let x = scale.x(point.monday);
            line(page, "axis", [x, floor, x, floor + 4]);
            label(
                page,
                "tick-x",
                x,
                floor + 16,
                &point.monday.format("%-d %b").to_string(),
            );
        }
    }
    line(page, "axis", [LEFT, TOP, LEFT, floor]);
    line(page, "axis", [LEFT, floor, WIDTH - RIGHT, floor]);
    label(
        page,
        "title-x",
        (LEFT + WIDTH - RIGHT) / 2,
        HEIGHT - 8,
        "Week beginning",
    );
    page.markup("<text class=\"title-y\" transform=\"translate(12 134) rotate(-90)\">Attendance to date (%)</text>\n");
}

/// What the chart shows, in words.
fn description(points: &[WeekPoint]) -> String {
    let percent = |point: &WeekPoint| point.to_date.attendance_percent();
    let lowest = points.iter().min_by_key(|point| point.to_date.attendance_tenths());
    match (points.first(), lowest, points.last()) {
        (Some(first), Some(lowest), Some(last)) => format!(
            "Attendance from the first day of the academic year to the end of each week: {}% after the week of {}, at its \
             lowest {}% after that of {}, {}% after that of {}.",
            percent(first),
            short_day(first.monday),
            percent(lowest),
            short_day(lowest.monday),
            percent(last),
            short_day(last.monday)
        ),
        _ => String::new(),
    }
}
