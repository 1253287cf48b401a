//! The service's clock: the one place that reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::domain::session::{AcademicYear, london_date};

/// Tells the time. Set by hand it runs on from the moment it was set to: for demonstrations and tests, never in
/// production.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Milliseconds that the clock is ahead of the system's.
    ahead_ms: Arc<AtomicI64>,
    set: bool,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock {
            ahead_ms: Arc::new(AtomicI64::new(0)),
            set: false,
        }
    }

    /// A clock that shows `instant` now and runs on.
    pub fn set_to(instant: DateTime<Utc>) -> Clock {
        let clock = Clock {
            ahead_ms: Arc::new(AtomicI64::new(0)),
            set: true,
        };
        clock.turn_to(instant);
        clock
    }

    /// Turns a clock that was set by hand; one that was not stays as it is.
    pub fn turn_to(&self, instant: DateTime<Utc>) {
        if self.set {
            let ahead = instant - system_now();
            self.ahead_ms.store(ahead.num_milliseconds(), Ordering::Relaxed);
        }
    }

    /// Whether it was set by hand.
    pub fn is_set(&self) -> bool {
        self.set
    }

    /// The time, to the microsecond that Postgres keeps.
    pub fn now(&self) -> DateTime<Utc> {
        let now = system_now() + TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Relaxed));
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }

    /// The day in Europe/London.
    pub fn today(&self) -> NaiveDate {
        london_date(self.now())
    }

    /// The academic year of the day. A clock outside the years that the service takes is taken to the nearest.
    pub fn academic_year(&self) -> AcademicYear {
        AcademicYear::clamped(self.today())
    }
}

#[allow(clippy::disallowed_methods)] // The one place that reads the system's clock.
fn system_now() -> DateTime<Utc> {
    Utc::now()
}
