//! The settings: the table `[notify]`.

use crate::channels::{ChannelSettings, secret};
use crate::domain::opt_out::{Keys, Links};
use crate::domain::retry::RetryPolicy;
use artel_contract::notify::Channel;
use artel_flow::Settings;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// See `config/artel.toml` for what each one means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySettings {
    /// Accounts of each channel, in the order in which they are used.
    pub email: ChannelSettings,
    pub sms: ChannelSettings,
    pub push: ChannelSettings,
    pub retry: RetrySettings,
    /// The longest that a message holds its place for while its account is at its pace; for longer it is put off.
    pub hold_ms: u64,
    /// The longest that handing a message to a provider, or asking one, may take.
    pub call_seconds: u64,
    /// How long after an attempt that nobody knows the end of the provider is asked.
    pub ask_after_seconds: u64,
    /// MiB of attachments that are in memory for mails under way; more of them wait.
    pub attachments_mib: u32,
    /// How long a status stays in the cache.
    pub cache_ms: u64,
    /// Days that deliveries are kept for.
    pub keep_days: u32,
    /// Days for which it is known what providers call our messages, so that receipts find them.
    pub references_days: u32,
    /// Hours for which a receipt of what nobody knows is kept.
    pub receipts_hours: u32,
    /// Templates that are kept compiled.
    pub templates: usize,
    /// Whether the rule that comes with the program holds: who waits for a shipment hears of it.
    pub example: bool,
    /// A file of rules that is applied at each start.
    pub rules_file: Option<String>,
    /// Days for which an event is known by what only it has.
    pub once_days: u32,
    /// Days for which it is kept what rules could do nothing with.
    pub misses_days: u32,
    /// Subscriptions that an export of a person has.
    pub export_subscriptions: u32,
    /// Where people reach this program: https. Messages have links there by which whoever gets them turns their topic off; none
    /// where it is absent.
    pub public_url: Option<String>,
    /// What these links are signed with.
    pub unsubscribe_secret_file: Option<PathBuf>,
    #[serde(skip)]
    links: OnceLock<Option<Links>>,
}

/// How often and how long a message is tried again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// The pause after the first failure; doubled each time.
    pub pause_seconds: u64,
    pub longest_seconds: u64,
    pub tries: u32,
    pub age_hours: u64,
}

impl Default for NotifySettings {
    fn default() -> NotifySettings {
        NotifySettings {
            email: ChannelSettings::default(),
            sms: ChannelSettings::default(),
            push: ChannelSettings::default(),
            retry: RetrySettings::default(),
            hold_ms: 5_000,
            call_seconds: 30,
            ask_after_seconds: 5,
            attachments_mib: 32,
            cache_ms: 2_000,
            keep_days: 90,
            references_days: 14,
            receipts_hours: 24,
            templates: 1_000,
            example: true,
            rules_file: None,
            once_days: 7,
            misses_days: 7,
            export_subscriptions: 10_000,
            public_url: None,
            unsubscribe_secret_file: None,
            links: OnceLock::new(),
        }
    }
}

impl Default for RetrySettings {
    fn default() -> RetrySettings {
        RetrySettings { pause_seconds: 10, longest_seconds: 3_600, tries: 8, age_hours: 24 }
    }
}

impl Settings for NotifySettings {
    fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for channel in Channel::ALL {
            problems.extend(self.channel(channel).check(channel));
        }
        let mut within = |name: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                problems.push(format!("{name}: {value} is not {least} to {most}"));
            }
        };
        within("retry.pause_seconds", self.retry.pause_seconds, 1, 86_400);
        within("retry.longest_seconds", self.retry.longest_seconds, self.retry.pause_seconds, 86_400);
        within("retry.tries", u64::from(self.retry.tries), 1, 40);
        within("retry.age_hours", self.retry.age_hours, 1, 24 * 30);
        within("hold_ms", self.hold_ms, 0, 20_000);
        within("call_seconds", self.call_seconds, 1, 50);
        within("ask_after_seconds", self.ask_after_seconds, 0, 86_400);
        within("attachments_mib", u64::from(self.attachments_mib), 10, 4_096);
        within("cache_ms", self.cache_ms, 1, 3_600_000);
        within("keep_days", u64::from(self.keep_days), 1, 36_500);
        within("references_days", u64::from(self.references_days), 1, 3_650);
        within("receipts_hours", u64::from(self.receipts_hours), 1, 8_760);
        within("once_days", u64::from(self.once_days), 1, 3_650);
        within("misses_days", u64::from(self.misses_days), 1, 3_650);
        within("export_subscriptions", u64::from(self.export_subscriptions), 1, 100_000);
        within("templates", self.templates as u64, 1, 1_000_000);
        let (kept, tried) = (u64::from(self.keep_days) * 24, self.retry.age_hours);
        if kept < tried {
            problems
                .push(format!("keep_days: {} days are less than retry.age_hours ({tried})", self.keep_days));
        }
        match self.read_links() {
            // Kept, so that sending reads no file.
            Ok(links) => _ = self.links.set(links),
            Err(problem) => problems.push(problem),
        }
        problems
    }
}

impl NotifySettings {
    pub fn channel(&self, channel: Channel) -> &ChannelSettings {
        match channel {
            Channel::Email => &self.email,
            Channel::Sms => &self.sms,
            Channel::Push => &self.push,
        }
    }

    /// How messages say where their topic is turned off; `None` where that is not set up.
    pub fn links(&self) -> Option<&Links> {
        self.links.get()?.as_ref()
    }

    fn read_links(&self) -> Result<Option<Links>, String> {
        let (url, file) = match (&self.public_url, &self.unsubscribe_secret_file) {
            (None, None) => return Ok(None),
            (Some(url), Some(file)) => (url, file),
            (Some(_), None) => return Err("unsubscribe_secret_file: public_url needs one".to_owned()),
            (None, Some(_)) => {
                return Err("public_url: is needed where there is an unsubscribe_secret_file".to_owned());
            }
        };
        let secrets = secret("unsubscribe_secret_file", file)?;
        let keys = Keys::parse(&secrets)
            .map_err(|reason| format!("unsubscribe_secret_file: {}: {reason}", file.display()))?;
        Links::new(url, keys).map(Some).map_err(|reason| format!("public_url: {reason}"))
    }

    pub fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            pause: Duration::from_secs(self.retry.pause_seconds),
            longest: Duration::from_secs(self.retry.longest_seconds),
            tries: self.retry.tries,
            age: Duration::from_secs(self.retry.age_hours * 3_600),
        }
    }

    pub fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms)
    }

    pub fn call(&self) -> Duration {
        Duration::from_secs(self.call_seconds)
    }
}
