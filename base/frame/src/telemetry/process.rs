//! The process itself as metrics, read from /proc at each scrape, under the names of Prometheus' own clients. Where there
//! is no /proc nothing is reported.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fs;

/// Ticks of processor time per second in /proc: USER_HZ, 100 on every architecture that Rust runs Linux on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads /proc/self when the metrics are encoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessCollector;

/// What /proc says of this process.
#[derive(Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: Option<f64>,
    start_time: Option<f64>,
    resident_bytes: Option<i64>,
    virtual_bytes: Option<i64>,
    open_files: Option<i64>,
    max_files: Option<i64>,
    threads: Option<i64>,
}

impl Process {
    fn read() -> Process {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut process = Process::parse(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/self/limits"),
            &text("/proc/stat"),
        );
        // The listing itself holds one.
        process.open_files = fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|files| i64::try_from(files.count()).ok())
            .map(|count| count - 1);
        process
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Process {
        // The name of the program may hold spaces and brackets; the numbers follow the last one. The first is field 3.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<i64>().ok()? * 1024)
        };
        let boot = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        Process {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            start_time: boot.zip(ticks(22)).map(|(boot, started)| boot + started / TICKS_PER_SECOND),
            threads: fields.get(20 - 3).and_then(|text| text.parse().ok()),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            max_files: limits.lines().find_map(|line| {
                line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok()
            }),
            open_files: None,
        }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let process = Process::read();
        if let Some(seconds) = process.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let kind = counter.metric_type();
            let help = "processor time used, user and system";
            counter.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), kind)?)?;
        }
        if let Some(seconds) = process.start_time {
            let gauge = ConstGauge::new(seconds);
            let kind = gauge.metric_type();
            let help = "when the process started, since the epoch";
            gauge.encode(encoder.encode_descriptor(
                "process_start_time",
                help,
                Some(&Unit::Seconds),
                kind,
            )?)?;
        }
        let gauges = [
            ("process_resident_memory", Some(&Unit::Bytes), "memory in use", process.resident_bytes),
            ("process_virtual_memory", Some(&Unit::Bytes), "address space in use", process.virtual_bytes),
            ("process_open_fds", None, "open file descriptors", process.open_files),
            ("process_max_fds", None, "most file descriptors that may be open", process.max_files),
            ("process_threads", None, "threads", process.threads),
        ];
        for (name, unit, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, unit, kind)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 5 0 300 1000 20 0";
        let process = Process::parse(
            stat,
            "VmSize:\t  2048 kB\nVmRSS:\t    1024 kB\n",
            "Max open files            1024                 4096                 files\n",
            "cpu 1\nbtime 1700000000\n",
        );
        assert_eq!(
            process,
            Process {
                cpu_seconds: Some(3.0),
                start_time: Some(1_700_000_003.0),
                resident_bytes: Some(1 << 20),
                virtual_bytes: Some(2 << 20),
                open_files: None,
                max_files: Some(1024),
                threads: Some(5),
            }
        );
        assert_eq!(Process::parse("", "", "", ""), Process::default());
    }
}
