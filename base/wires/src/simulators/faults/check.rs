//! Whether a plan can be meant.

use super::plan::{AddressRule, Answered, FaultPlan, Shares};

/// What can't be meant; `field` is written as in the plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadPlan {
    pub field: String,
    pub reason: String,
}

const PROVIDERS: [&str; 6] = ["smtp", "smpp", "twilio", "fcm", "fcm_token", "web_push"];
const MOST_RULES: usize = 200;
const MOST_MS: u64 = 3_600_000;
const MOST_TEXT: usize = 500;

impl FaultPlan {
    pub fn check(&self) -> Result<(), BadPlan> {
        for (name, shares) in &self.providers {
            let field = format!("providers.{name}");
            provider(&field, name)?;
            shares.check(&field)?;
        }
        need(
            self.addresses.len() <= MOST_RULES,
            "addresses",
            &format!("more than {MOST_RULES}; take some out"),
        )?;
        self.addresses.iter().enumerate().try_for_each(|(at, rule)| rule.check(&format!("addresses[{at}]")))
    }
}

impl Shares {
    fn check(&self, field: &str) -> Result<(), BadPlan> {
        need(self.refusals.len() <= MOST_RULES, &format!("{field}.refusals"), "too many; take some out")?;
        for (at, share) in self.refusals.iter().enumerate() {
            let own = format!("{field}.refusals[{at}]");
            percent(&own, "percent", share.percent)?;
            share.answer.check(&format!("{own}.answer"))?;
        }
        let sum: f64 = self.refusals.iter().map(|share| share.percent).sum();
        need(sum <= 100.0, &format!("{field}.refusals"), "more than 100 percent together")?;
        percent(field, "lost_replies", self.lost_replies)?;
        percent(field, "latency.percent", self.latency.percent)?;
        milliseconds(field, "latency.most_ms", self.latency.most_ms)?;
        need(
            self.latency.least_ms <= self.latency.most_ms,
            &format!("{field}.latency.least_ms"),
            "more than most_ms",
        )?;
        let receipts = &self.receipts;
        let kinds = [
            ("receipts.missing", receipts.missing),
            ("receipts.undelivered", receipts.undelivered),
            ("receipts.expired", receipts.expired),
            ("receipts.unknown", receipts.unknown),
        ];
        for (name, share) in kinds {
            percent(field, name, share)?;
        }
        let sum: f64 = kinds.iter().map(|(_, share)| share).sum();
        need(sum <= 100.0, &format!("{field}.receipts"), "more than 100 percent together")?;
        percent(field, "receipts.duplicate", receipts.duplicate)?;
        percent(field, "receipts.late", receipts.late)?;
        milliseconds(field, "receipts.after_ms", receipts.after_ms)?;
        milliseconds(field, "receipts.late_ms", receipts.late_ms)
    }
}

impl Answered {
    fn check(&self, field: &str) -> Result<(), BadPlan> {
        // They go into the lines and headers of a protocol.
        let is_line = |text: &str| text.len() <= MOST_TEXT && !text.chars().any(char::is_control);
        match self {
            Answered::Smtp { code, enhanced, text } => {
                need((400..600).contains(code), &format!("{field}.smtp.code"), "give 400 to 599")?;
                need(
                    is_line(enhanced),
                    &format!("{field}.smtp.enhanced"),
                    "give one like 5.1.1, or nothing",
                )?;
                need(is_line(text), &format!("{field}.smtp.text"), "give one line")
            }
            Answered::Http { status, code, .. } => {
                need((400..600).contains(status), &format!("{field}.http.status"), "give 400 to 599")?;
                need(is_line(code), &format!("{field}.http.code"), "give one line")
            }
            Answered::Smpp { status } => need(*status != 0, &format!("{field}.smpp.status"), "0 is success"),
        }
    }
}

impl AddressRule {
    fn check(&self, field: &str) -> Result<(), BadPlan> {
        if let Some(name) = &self.provider {
            provider(&format!("{field}.provider"), name)?;
        }
        need(
            !self.begins.is_empty() || !self.ends.is_empty(),
            field,
            "fits every address; give begins or ends, or use the shares",
        )?;
        need(self.begins.len() <= MOST_TEXT, &format!("{field}.begins"), "too long")?;
        need(self.ends.len() <= MOST_TEXT, &format!("{field}.ends"), "too long")?;
        milliseconds(field, "delay_ms", self.delay_ms)?;
        self.refusal.as_ref().map_or(Ok(()), |refusal| refusal.check(&format!("{field}.refusal")))
    }
}

fn need(holds: bool, field: &str, reason: &str) -> Result<(), BadPlan> {
    if holds { Ok(()) } else { Err(BadPlan { field: field.to_owned(), reason: reason.to_owned() }) }
}

fn provider(field: &str, name: &str) -> Result<(), BadPlan> {
    need(PROVIDERS.contains(&name), field, &format!("no such provider; give one of {}", PROVIDERS.join(", ")))
}

fn percent(field: &str, name: &str, share: f64) -> Result<(), BadPlan> {
    need((0.0..=100.0).contains(&share), &format!("{field}.{name}"), "give 0 to 100 percent")
}

fn milliseconds(field: &str, name: &str, ms: u64) -> Result<(), BadPlan> {
    need(ms <= MOST_MS, &format!("{field}.{name}"), "longer than an hour")
}
