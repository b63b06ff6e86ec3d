//! The progress bar, on stderr and only if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// The bar's resolution.
const STEPS: u64 = 1_000;

/// A bar that stays hidden until something reports progress.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that shows nothing yet.
    pub fn new() -> Self {
        // Draws nothing at all where stderr is no terminal.
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:32} {percent:>3}%  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    /// Shows how far it is, from 0 to 1.
    pub fn show(&self, fraction: f64, message: Option<&str>) {
        self.0.set_message(output::one_line(message.unwrap_or_default()));
        // A fraction is never negative and a NaN becomes 0.
        self.0.set_position((fraction.clamp(0.0, 1.0) * STEPS as f64) as u64);
    }

    /// Does `write` with the bar out of the way.
    pub fn aside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
