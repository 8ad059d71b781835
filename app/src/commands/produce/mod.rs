//! `artel produce`: lines in, chunks out, each chunk sent again until it is answered.

mod lines;
mod send;

use crate::cli::Produce;
use crate::{REFUSED, connect, say};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lines::{Chunks, Input};
use send::Sender;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Bad lines that are shown; the others are counted.
const SHOWN: u64 = 100;

/// What became of the lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub accepted: u64,
    pub refused: u64,
}

pub async fn run(args: Produce) -> Result<ExitCode> {
    let client = connect::client(&args.target)?;
    let input = Input::open(&args.file).with_context(|| {
        format!("'{}' can't be read; name a file, or - for standard input", args.file.display())
    })?;
    let report = Report::new(input.length);
    let patience = Some(Duration::from_secs(args.patience)).filter(|patience| !patience.is_zero());
    let mut sender = Sender { target: &args.target, client, run: Uuid::now_v7(), patience, report: &report };
    let mut chunks = Chunks::begin(input, args.topic, args.key_field);
    let (started, mut counts) = (Instant::now(), Counts::default());
    let sent = async {
        while let Some(chunk) = chunks.next().await? {
            for bad in &chunk.bad {
                counts.refused += 1;
                report.bad(counts.refused, bad.line, &bad.reason);
            }
            if !chunk.lines.is_empty() {
                sender.send(&chunk, &mut counts).await?;
            }
            report.progress(&chunk, counts);
        }
        Ok::<_, anyhow::Error>(())
    };
    let sent = sent.await;
    report.end();
    let seconds = started.elapsed().as_secs_f64();
    let rate = counts.accepted as f64 / seconds.max(0.001);
    writeln!(
        std::io::stdout(),
        "accepted {}, refused {}, in {seconds:.1} s ({rate:.0} lines/s)",
        counts.accepted,
        counts.refused
    )?;
    sent?;
    Ok(if counts.refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// What a person sees on the way, on standard error.
pub struct Report {
    bar: ProgressBar,
}

impl Report {
    fn new(length: Option<u64>) -> Report {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(length, target);
        let template = match length {
            Some(_) => "{wide_bar} {percent}% {msg} {elapsed} (left {eta})",
            None => "{spinner} {msg} {elapsed}",
        };
        // The template is a constant that a test reads; the default style would do as well.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Report { bar }
    }

    fn progress(&self, chunk: &lines::Chunk, counts: Counts) {
        self.bar.set_position(chunk.read);
        self.bar.set_message(format!("{} accepted, {} refused", counts.accepted, counts.refused));
    }

    /// A line above the bar, or of its own where there is no bar.
    pub fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            say(text);
        } else {
            self.bar.println(text);
        }
    }

    /// One line that was refused; `nth` counts them from 1.
    pub fn bad(&self, nth: u64, line: u64, reason: &str) {
        match nth {
            n if n <= SHOWN => self.say(&format!("line {line}: {reason}")),
            n if n == SHOWN + 1 => self.say("more lines were refused; they are counted, not shown"),
            _ => {}
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    #[test]
    fn the_templates_are_templates() {
        for template in ["{wide_bar} {percent}% {msg} {elapsed} (left {eta})", "{spinner} {msg} {elapsed}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
