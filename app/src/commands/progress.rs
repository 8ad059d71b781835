//! Long work, as people watch it: a line that moves on a terminal, and nothing elsewhere.

use crate::table::bytes;
use artel_frame::backup::{Progress, Reached};
use indicatif::{ProgressBar, ProgressStyle};
use std::future::Future;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);

const SPINNER: &str = "{spinner} {msg}";
const BAR: &str = "{spinner} [{bar:30}] {percent:>3} %  {msg}";

/// The line on standard error: a bar where it is known how much there is.
pub struct Line(ProgressBar);

impl Line {
    pub fn begin() -> Line {
        Line(ProgressBar::new_spinner())
    }

    pub fn show(&self, reached: &Reached) {
        if let Ok(style) = ProgressStyle::with_template(if reached.total > 0 { BAR } else { SPINNER }) {
            self.0.set_style(style.progress_chars("=> "));
        }
        self.0.set_length(reached.total);
        self.0.set_position(reached.done.min(reached.total));
        self.0.set_message(sentence(reached));
        self.0.tick();
    }
}

/// What is done, and how much of it.
fn sentence(reached: &Reached) -> String {
    let count = |n: u64| if reached.unit.is_empty() { bytes(n) } else { format!("{n} {}", reached.unit) };
    match (reached.done, reached.total) {
        (0, 0) => reached.doing.clone(),
        (done, 0) => format!("{}: {}", reached.doing, count(done)),
        (done, total) if reached.unit.is_empty() => {
            format!("{}: {} of {}", reached.doing, count(done), count(total))
        }
        (done, total) => format!("{}: {done} of {}", reached.doing, count(total)),
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Does the work and shows how far it is.
pub async fn watched<T>(progress: &Progress, work: impl Future<Output = T>) -> T {
    let line = Line::begin();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(TICK) => line.show(&progress.now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_done_and_of_how_much() {
        let reached =
            |unit, done, total| sentence(&Reached { doing: "copying".to_owned(), unit, done, total });
        assert_eq!(reached("rows", 0, 0), "copying");
        assert_eq!(reached("rows", 7, 20), "copying: 7 of 20 rows");
        assert_eq!(reached("", 512, 2048), "copying: 512 B of 2.0 KiB");
        assert_eq!(reached("", 512, 0), "copying: 512 B");
    }
}
