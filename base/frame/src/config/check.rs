//! Rules beyond types: ranges, and what must fit together.

mod peers;

use super::problem::Problem;
use super::sections::{Scope, Token};
use super::tree::{Node, element, keys};
use super::{Config, Period, Size};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Shorter tokens can be guessed.
pub(crate) const MIN_TOKEN: usize = 16;

/// Collects problems with the sources of the values they are about.
struct Check<'a> {
    tree: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn fail(&mut self, path: &str, reason: impl Into<String>) {
        let source = self.tree.source_of(&keys(path));
        self.problems.push(Problem::new(path, source, reason));
    }

    fn holds(&mut self, path: &str, rule: bool, reason: &str) {
        if !rule {
            self.fail(path, reason);
        }
    }

    fn range<T: PartialOrd + Display>(&mut self, path: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            self.fail(
                path,
                format!("{value} is out of range; {} to {} is allowed", range.start(), range.end()),
            );
        }
    }

    fn size(&mut self, path: &str, value: Size, least: u64, most: u64) {
        self.range(path, value, Size::bytes(least)..=Size::bytes(most));
    }

    fn period(&mut self, path: &str, value: Period, least_ms: u64, most_ms: u64) {
        self.range(path, value, Period::millis(least_ms)..=Period::millis(most_ms));
    }

    fn adapter<T>(&mut self, path: &str, adapter: Result<T, String>) {
        if let Err(reason) = adapter {
            self.fail(path, reason);
        }
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: u64 = 1000;
const DAY: u64 = 86_400 * SECOND;
const YEARS: u64 = 36_500 * DAY;

pub(crate) fn check(config: &Config, tree: &Node, problems: &mut Vec<Problem>) {
    let mut check = Check { tree, problems };
    node(config, &mut check);
    bus(config, &mut check);
    kafka(config, &mut check);
    stores(config, &mut check);
    http(config, &mut check);
    outbound(config, &mut check);
    peers::check(config, &mut check);
    flow(config, &mut check);
    telemetry(config, &mut check);
    auth(config, &mut check);
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn node(config: &Config, check: &mut Check<'_>) {
    let node = &config.node;
    check.holds("node.name", is_name(&node.name), "not a name; use 1 to 64 of a-z A-Z 0-9 - _ .");
    check.holds("node.data_dir", !node.data_dir.as_os_str().is_empty(), "empty; name a folder");
    check.period("node.stop_within", node.stop_within, 0, 3600 * SECOND);
}

fn bus(config: &Config, check: &mut Check<'_>) {
    let bus = &config.bus;
    check.adapter("bus.url", config.bus_adapter());
    check.range("bus.partitions", bus.partitions, 1..=1024);
    check.size("bus.max_message_bytes", bus.max_message_bytes, 16 * KIB, 256 * MIB);
    // Kafka's indexes hold positions of 31 bits.
    check.size("bus.segment_bytes", bus.segment_bytes, 4 * KIB, 2048 * MIB - 1);
    check.period("bus.retention", bus.retention, SECOND, YEARS);
    if let Some(bytes) = bus.retention_bytes {
        check.holds(
            "bus.retention_bytes",
            bytes >= bus.segment_bytes,
            "smaller than one segment; see bus.segment_bytes",
        );
    }
    check.holds(
        "bus.hard_bytes",
        bus.hard_bytes >= bus.segment_bytes,
        "smaller than one segment; see bus.segment_bytes",
    );
}

fn kafka(config: &Config, check: &mut Check<'_>) {
    let kafka = &config.kafka;
    let (sasl, tls) = (kafka.security.has_sasl(), kafka.security.has_tls());
    let named = |present: bool| if present { "is" } else { "is not" };
    check.holds("kafka.user", !sasl || kafka.user.is_some(), "missing; kafka.security asks for a user");
    check.holds(
        "kafka.password",
        !sasl || kafka.password.is_some(),
        "missing; kafka.security asks for a password",
    );
    if !tls {
        for (path, file) in [
            ("kafka.ca_file", &kafka.ca_file),
            ("kafka.certificate_file", &kafka.certificate_file),
            ("kafka.key_file", &kafka.key_file),
        ] {
            check.holds(
                path,
                file.is_none(),
                "kafka.security uses no TLS; make it ssl or sasl_ssl, or leave the file out",
            );
        }
    }
    if kafka.certificate_file.is_some() != kafka.key_file.is_some() {
        let (one, other) = (named(kafka.certificate_file.is_some()), named(kafka.key_file.is_some()));
        check.fail(
            "kafka.key_file",
            format!("a certificate {one} given and its key {other}; give both or none"),
        );
    }
    for (path, prefix) in
        [("kafka.topic_prefix", &kafka.topic_prefix), ("kafka.group_prefix", &kafka.group_prefix)]
    {
        let reason = "must be at most 64 letters, digits, '-', '_' and '.'";
        check.holds(path, prefix.is_empty() || is_name(prefix), reason);
    }
    if let (Some(copies), Some(reached)) = (kafka.replication_factor, kafka.min_insync_replicas) {
        let reason = "above kafka.replication_factor: no message could ever be written";
        check.holds("kafka.min_insync_replicas", reached <= copies, reason);
    }
}

fn stores(config: &Config, check: &mut Check<'_>) {
    check.adapter("db.url", config.db_adapter());
    check.range("db.readers", config.db.readers, 1..=256);
    check.period("db.background_slice", config.db.background_slice, 1, 10 * SECOND);
    check.range("db.connections", config.db.connections, 3..=10_000);
    check.adapter("cache.url", config.cache_adapter());
    check.size("cache.bytes", config.cache.bytes, 64 * KIB, 1 << 40);
    check.period("cache.timeout", config.cache.timeout, 5, 10 * SECOND);
    let prefix = &config.cache.prefix;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    check.holds(
        "cache.prefix",
        (1..=64).contains(&prefix.len()) && prefix.chars().all(fits),
        "is no prefix; use 1 to 64 letters, digits and -_.",
    );
}

fn http(config: &Config, check: &mut Check<'_>) {
    let http = &config.http;
    let closed = config.auth.operator_token.is_some() || !config.auth.tokens.is_empty();
    if !http.listen.ip().is_loopback() && !closed {
        let reason = format!(
            "{} can be reached from other machines and [auth] has no token; set auth.operator_token or auth.tokens, \
             or listen on 127.0.0.1",
            http.listen
        );
        check.fail("http.listen", reason);
    }
    for host in &http.hosts {
        let plain = !host.is_empty() && !host.contains(['/', ' ', '@']);
        check.holds(
            "http.hosts",
            plain,
            "not a host name; write it as it stands in a URL, without scheme and path",
        );
    }
    for origin in &http.cors_origins {
        let (_, host) = origin.split_once("://").unwrap_or(("", ""));
        let whole = (origin.starts_with("http://") || origin.starts_with("https://"))
            && !host.is_empty()
            && !host.contains(['/', ' ', '*', '@', '?', '#']);
        if !whole {
            check.fail(
                "http.cors_origins",
                format!("'{origin}' is not an origin; write it as https://HOST or https://HOST:PORT"),
            );
        }
    }
    check.size("http.body_limit", http.body_limit, KIB, 1024 * MIB);
    check.period("http.request_timeout", http.request_timeout, 10, 3600 * SECOND);
    check.period("http.head_timeout", http.head_timeout, 10, 3600 * SECOND);
    check.period("http.body_pause", http.body_pause, 10, 3600 * SECOND);
    check.range("http.concurrency", http.concurrency, 1..=100_000);
    check.range("http.connections", http.connections, 1..=1_000_000);
}

fn outbound(config: &Config, check: &mut Check<'_>) {
    let outbound = &config.outbound;
    check.period("outbound.connect_timeout", outbound.connect_timeout, 1, 600 * SECOND);
    check.period("outbound.attempt_timeout", outbound.attempt_timeout, 1, 3600 * SECOND);
    check.period("outbound.timeout", outbound.timeout, 1, 3600 * SECOND);
    check.period("outbound.longest_wait", outbound.longest_wait, 0, 3600 * SECOND);
    check.size("outbound.response_limit", outbound.response_limit, KIB, 1024 * MIB);
    check.range("outbound.at_once", outbound.at_once, 1..=100_000);
    for rate in &outbound.rates {
        let written = !rate.host.is_empty() && rate.host.to_ascii_lowercase() == rate.host;
        let plain = !rate.host.contains(['/', '@', ' ']);
        let bounded = rate.calls > 0 && rate.burst > 0 && rate.per >= Period::millis(1);
        if !(written && plain && bounded) {
            let reason = format!(
                "the rate of '{}' is none; give a host in lower case without a scheme, and calls, burst and per of at least 1",
                rate.host
            );
            check.fail("outbound.rates", reason);
        }
    }
}

fn flow(config: &Config, check: &mut Check<'_>) {
    let flow = &config.flow;
    check.range("flow.batch_records", flow.batch_records, 1..=100_000);
    check.size("flow.batch_bytes", flow.batch_bytes, KIB, 1024 * MIB);
    check.range("flow.tries", flow.tries, 1..=100);
    check.period("flow.retry_for", flow.retry_for, 0, YEARS);
    check.range("flow.retry_attempts", flow.retry_attempts, 1..=1_000_000);
    check.range("flow.parked_per_key", flow.parked_per_key, 1..=10_000_000);
    check.range("flow.parked_messages", flow.parked_messages, 1..=10_000_000);
    check.size("flow.parked_bytes", flow.parked_bytes, KIB, 1024 * 1024 * MIB);
    check.range("flow.failing_window", flow.failing_window, 0..=10_000);
    check.range("flow.outbox_limit", flow.outbox_limit, 1..=1_000_000_000);
    check.period("flow.handler_time", flow.handler_time, 100, 3_600 * SECOND);
    check.period("flow.effect_time", flow.effect_time, 100, 86_400 * SECOND);
    check.period("flow.effect_for", flow.effect_for, 0, YEARS);
    check.range("flow.effect_tries", flow.effect_tries, 1..=1_000_000);
    check.period("flow.effect_lease", flow.effect_lease, SECOND, 3_600 * SECOND);
    check.period("flow.timer_for", flow.timer_for, 0, YEARS);
    check.range("flow.timer_tries", flow.timer_tries, 1..=1_000_000);
    check.period("flow.answered_for", flow.answered_for, SECOND, YEARS);
    check.period("flow.dead_for", flow.dead_for, 60 * SECOND, YEARS);
    check.period("flow.audit_for", flow.audit_for, 60 * SECOND, YEARS);
    check.period("flow.beat", flow.beat, 50, 60 * SECOND);
    let patient = flow.silence.get() >= flow.beat.get() * 3;
    check.holds(
        "flow.silence",
        patient,
        "it must be at least three times flow.beat, or a late beat counts as death",
    );
}

fn telemetry(config: &Config, check: &mut Check<'_>) {
    let telemetry = &config.telemetry;
    if let Err(reason) = crate::telemetry::log_filter(&telemetry.log_filter) {
        check.fail("telemetry.log_filter", reason);
    }
    check.range("telemetry.trace_ratio", telemetry.trace_ratio, 0.0..=1.0);
    let Some(url) = &telemetry.otlp_url else { return };
    let http = matches!(url.scheme(), "http" | "https");
    check.holds("telemetry.otlp_url", http, "not a URL of a collector; write it as http://HOST:4318");
    check.holds(
        "telemetry.otlp_url",
        config.compiled.otlp,
        "otlp is not compiled in; rebuild with --features otlp",
    );
}

fn auth(config: &Config, check: &mut Check<'_>) {
    let long = config.auth.operator_token.as_ref().is_none_or(|token| token.expose().len() >= MIN_TOKEN);
    check.holds("auth.operator_token", long, "too short; use at least 16 characters");
    let mut names = BTreeSet::new();
    let places = check.tree.places(&keys("auth.tokens"));
    for (token, place) in config.auth.tokens.iter().zip(places) {
        if let Err((key, reason)) = check_token(token, &mut names) {
            let path = format!("auth.tokens[{place}].{key}");
            let source = check.tree.source_of(&element("auth.tokens", place));
            check.problems.push(Problem::new(path, source, reason));
        }
    }
}

fn check_token<'a>(token: &'a Token, names: &mut BTreeSet<&'a str>) -> Result<(), (&'static str, String)> {
    let fail = |key, reason: &str| Err((key, reason.to_owned()));
    if !is_name(&token.name) {
        return fail("name", "not a name; use 1 to 64 of a-z A-Z 0-9 - _ .");
    }
    if matches!(&*token.name, "operator" | "public") {
        return fail("name", "taken by the system itself; choose another");
    }
    if !names.insert(&token.name) {
        return Err(("name", format!("'{}' stands twice; give each token a name of its own", token.name)));
    }
    match (&token.secret, &token.sha256) {
        (None, None) => return fail("secret", "missing; set secret or sha256"),
        (Some(_), Some(_)) => return fail("secret", "both secret and sha256 are set; leave one out"),
        (Some(secret), None) if secret.expose().len() < MIN_TOKEN => {
            return fail("secret", "too short; use at least 16 characters");
        }
        (None, Some(hash)) if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            return fail("sha256", "not a SHA-256; write 64 hexadecimal digits");
        }
        _ => {}
    }
    let scopes: BTreeSet<Scope> = token.scopes.iter().copied().collect();
    if scopes.is_empty() {
        return fail("scopes", "empty; list some of produce, read, operate");
    }
    Ok(())
}
