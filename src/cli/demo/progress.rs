//! How far loading has come.

use std::io::IsTerminal as _;

/// A bar on a terminal, a line every tenth elsewhere.
pub(super) struct Progress {
    what: &'static str,
    bar: indicatif::ProgressBar,
    terminal: bool,
    done: u64,
    total: u64,
    tenths_said: u64,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: u64) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            indicatif::ProgressBar::new(total)
        } else {
            indicatif::ProgressBar::hidden()
        };
        if let Ok(style) = indicatif::ProgressStyle::with_template("{prefix:6} {wide_bar} {human_pos}/{human_len}") {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Progress {
            what,
            bar,
            terminal,
            done: 0,
            total,
            tenths_said: 0,
        }
    }

    pub(super) fn advance(&mut self, count: u64) {
        self.done += count;
        self.bar.set_position(self.done);
        let tenths = self.done * 10 / self.total.max(1);
        if !self.terminal && tenths > self.tenths_said {
            self.tenths_said = tenths;
            eprintln!("{}: {}%", self.what, tenths * 10);
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
