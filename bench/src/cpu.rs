//! Processor time of this process and of the servers beside it, where the system tells (`/proc`).

use std::fmt;
use std::fs;

/// Ticks in a second: the same on every Linux.
const TICKS: f64 = 100.0;

/// Seconds of processor time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    own: f64,
    postgres: f64,
    kafka: f64,
}

impl Used {
    /// All that was used so far.
    pub fn now() -> Used {
        let mut used = Used { own: ticks("self").unwrap_or(0.0), ..Used::default() };
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else {
                continue;
            };
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            let program = command.split('\0').next().unwrap_or_default();
            let seconds = ticks(pid).unwrap_or(0.0);
            if command.contains("kafka.Kafka") {
                used.kafka += seconds;
            } else if program.starts_with("postgres:") || program.ends_with("/postgres") {
                used.postgres += seconds;
            }
        }
        used
    }

    pub fn since(self, before: Used) -> Used {
        Used {
            own: self.own - before.own,
            postgres: self.postgres - before.postgres,
            kafka: self.kafka - before.kafka,
        }
    }
}

/// Seconds of a process, with those of its children that ended (PostgreSQL's of connections that were closed).
fn ticks(pid: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let times: Vec<f64> = fields.skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    (times.len() == 4).then(|| times.iter().sum::<f64>() / TICKS)
}

/// Memory that a process has in use, in bytes; `self` is this one.
pub(crate) fn resident(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s here", self.own)?;
        for (name, used) in [("PostgreSQL", self.postgres), ("Kafka", self.kafka)] {
            if used > 0.05 {
                write!(f, ", {used:.1} s {name}")?;
            }
        }
        Ok(())
    }
}
