//! How far it has come: a bar on a terminal, else a line every second.

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// The progress of one piece of work, on the standard error. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    label: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    next_line: Instant,
}

impl Progress {
    /// For `total` bytes.
    pub(crate) fn new(label: &'static str, total: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
            // Fails for a template that is not well-formed.
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style).with_message(label)
        });
        Self { label, total, bar, next_line: Instant::now() + INTERVAL }
    }

    /// So many bytes are done. To be called often: it shows only what is due.
    pub(crate) fn set(&mut self, done: u64) {
        // A file may have grown since the total was taken.
        let total = self.total.max(done);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + INTERVAL;
            eprintln!("{}: {} of {}", self.label, DecimalBytes(done), DecimalBytes(total));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
