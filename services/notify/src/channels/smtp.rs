//! Mail: an account at a server that takes it by SMTP.

use super::files::{secret, text};
use super::{Carrier, Outgoing};
use crate::domain::address::Address;
use crate::domain::classes::Provider;
use crate::domain::templates::Body;
use artel_wires::Handed;
use artel_wires::mail::{Bounds, Dkim, Letter, Mailbox, Unsubscribe};
use artel_wires::smtp::{self, BadSettings, Client, Envelope, Limits, Login, Mail, Secret, Security};
use async_trait::async_trait;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpSettings {
    pub host: String,
    /// 587, 465 with `security = "tls"`, 25 with `"none"`.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub security: SmtpSecurity,
    /// Allows `security = "none"` to another machine.
    #[serde(default)]
    pub plain_is_fine: bool,
    #[serde(default)]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Certificates of authorities that are trusted beside those of the system: PEM.
    #[serde(default)]
    pub roots_file: Option<PathBuf>,
    /// At the same time.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Who mails are from.
    pub from: String,
    #[serde(default)]
    pub from_name: String,
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Where reports of failure go; nowhere when absent.
    #[serde(default)]
    pub return_path: Option<String>,
    #[serde(default)]
    pub dkim: Vec<DkimSettings>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpSecurity {
    #[default]
    Starttls,
    Tls,
    None,
}

/// A key that mails are signed with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimSettings {
    pub domain: String,
    pub selector: String,
    /// The private key: PEM.
    pub key_file: PathBuf,
}

impl SmtpSettings {
    /// A carrier with these settings, for whoever stands before it with something of its own. `call` is the longest that a mail may
    /// take. Errors name the field.
    pub fn carrier(&self, call: Duration) -> Result<Arc<dyn Carrier>, String> {
        Ok(Arc::new(Smtp::new(self, call)?))
    }
}

fn connections() -> usize {
    10
}

pub(super) struct Smtp {
    client: Client,
    provider: Provider,
    by: String,
    from: Mailbox,
    /// Of the sender, for ids of mails.
    domain: String,
    reply_to: Option<Mailbox>,
    return_path: Option<smtp::Address>,
    keys: Vec<Dkim>,
}

impl Smtp {
    /// `call` is the longest that a mail may take. Errors name the field.
    pub fn new(settings: &SmtpSettings, call: Duration) -> Result<Smtp, String> {
        let address =
            |field: &str, text: &str| smtp::Address::parse(text).map_err(|error| format!("{field}: {error}"));
        let from = address("from", &settings.from)?;
        if let Some(reply_to) = &settings.reply_to {
            address("reply_to", reply_to)?;
        }
        let return_path = settings.return_path.as_deref().map(|path| address("return_path", path));
        let keys = settings.dkim.iter().enumerate().map(|(at, key)| {
            let pem = secret("key_file", &key.key_file);
            let made = pem.and_then(|pem| {
                Dkim::new(&key.domain, &key.selector, &pem).map_err(|bad| match bad.field {
                    "key" => format!("key_file: {}: {}", key.key_file.display(), bad.reason),
                    _ => bad.to_string(),
                })
            });
            made.map_err(|error| format!("dkim[{at}].{error}"))
        });
        Ok(Smtp {
            client: Client::new(wire(settings, call)?).map_err(|bad| named(settings, &bad))?,
            provider: match settings.host.to_ascii_lowercase().ends_with(".amazonaws.com") {
                true => Provider::Ses,
                false => Provider::Smtp,
            },
            by: format!("{}@{}", settings.user.as_deref().unwrap_or_default(), settings.host),
            from: mailbox(&settings.from_name, &settings.from),
            domain: from.domain().to_owned(),
            reply_to: settings.reply_to.as_deref().map(|address| mailbox("", address)),
            return_path: return_path.transpose()?,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    fn mail(&self, message: &Outgoing) -> Result<Mail, String> {
        let (Address::Email(to), Body::Email { subject, text, html }) = (&message.address, &message.body)
        else {
            return Err("is no mail".to_owned());
        };
        let to = to.to_string();
        // Without the attempt: one that is made again is the same mail to whoever gets both.
        let id = message.key.rsplit_once('-').map_or(message.key.as_str(), |(id, _)| id);
        let letter = Letter {
            from: self.from.clone(),
            to: mailbox("", &to),
            reply_to: self.reply_to.clone(),
            subject: subject.clone(),
            text: Some(text.clone()),
            html: html.clone(),
            attachments: message.attachments.as_ref().map_or_else(Vec::new, |files| files.files.clone()),
            message_id: format!("{id}@{}", self.domain),
            unsubscribe: message.unsubscribe_url.clone().map(|url| Unsubscribe { url, address: None }),
            date: message.begun_at.micros() / 1_000_000,
            headers: vec![("Auto-Submitted".to_owned(), "auto-generated".to_owned())],
            ..Letter::default()
        };
        let content = letter.write(&Bounds::default(), &self.keys).map_err(|error| error.to_string())?;
        let to = smtp::Address::parse(&to).map_err(|error| format!("to: {error}"))?;
        let envelope = Envelope { from: self.return_path.clone(), to };
        Mail::new(envelope, &content).map_err(|error| error.to_string())
    }
}

/// What is wrong, by the names of these settings.
fn named(settings: &SmtpSettings, bad: &BadSettings) -> String {
    match (bad.field, &settings.roots_file) {
        ("extra_roots", Some(file)) => format!("roots_file: {}: {}", file.display(), bad.reason),
        ("extra_roots", None) => format!("roots_file: {}", bad.reason),
        ("login", _) => format!("user: {}", bad.reason),
        _ => bad.to_string(),
    }
}

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox { name: name.to_owned(), address: address.to_owned() }
}

fn wire(settings: &SmtpSettings, call: Duration) -> Result<smtp::Settings, String> {
    let (security, port) = match settings.security {
        SmtpSecurity::Starttls => (Security::StartTls, 587),
        SmtpSecurity::Tls => (Security::Tls, 465),
        SmtpSecurity::None => (Security::None, 25),
    };
    let login = match (&settings.user, &settings.secret_file) {
        (Some(user), Some(file)) => {
            Some(Login { user: user.clone(), secret: Secret::new(secret("secret_file", file)?) })
        }
        (None, None) => None,
        (Some(_), None) => return Err("secret_file: a user needs one".to_owned()),
        (None, Some(_)) => return Err("user: a secret needs one".to_owned()),
    };
    Ok(smtp::Settings {
        port: settings.port.unwrap_or(port),
        security,
        plain_is_fine: settings.plain_is_fine,
        login,
        extra_roots: settings.roots_file.as_ref().map(|file| text("roots_file", file)).transpose()?,
        connections: settings.connections,
        // The rest is for the mail itself: silence before it is no doubt about it.
        limits: Limits { turn: call / 3, begin: call * 2 / 3, ..Limits::default() },
        ..smtp::Settings::to(&settings.host)
    })
}

#[async_trait]
impl Carrier for Smtp {
    fn provider(&self) -> Provider {
        self.provider
    }

    async fn hand(&self, message: &Outgoing) -> Handed {
        match self.mail(message) {
            Ok(mail) => self.client.send(&mail).await,
            Err(reason) => Handed::unfit(&self.by, reason),
        }
    }
}
