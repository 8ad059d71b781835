//! Where a server is, how it is talked to, and for how long anything is waited for.

use crate::http::is_loopback;
use crate::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One server, and one account there if it asks for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A name or an address. Under TLS its certificate has to be for it.
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// Allows [`Security::None`] to a host that is not this machine. A login is never sent so.
    pub plain_is_fine: bool,
    pub login: Option<Login>,
    /// Certificates of authorities that are trusted beside those of the system: PEM.
    pub extra_roots: Option<String>,
    /// What we say who we are in EHLO; by default our address on that connection, in brackets (RFC 5321, section 4.1.3).
    pub hello: Option<String>,
    /// Connections at the same time; more mails wait.
    pub connections: usize,
    /// After so many mails a connection is closed; 0 means never. Servers have such limits themselves.
    pub mails_per_connection: u64,
    /// After so long without a mail a connection is closed.
    pub idle: Duration,
    pub limits: Limits,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: to this machine only.
    None,
    /// It begins plain and goes on under TLS, or not at all (RFC 3207). Usually port 587.
    StartTls,
    /// TLS from the first byte (RFC 8314). Usually port 465.
    Tls,
}

/// Who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub secret: Secret,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// How long each step is waited for. The defaults from `greeting` on are those of RFC 5321, section 4.5.3.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For everything before the mail's content, whatever the limits of its steps: whoever gives a mail up as a whole after some
    /// time knows by then that it was not sent, where it has not come so far.
    pub begin: Duration,
    /// For a connection of the pool to be free.
    pub turn: Duration,
    /// For the connection, and again for TLS.
    pub connect: Duration,
    pub greeting: Duration,
    /// For the answer to each command but those below.
    pub command: Duration,
    /// For the answer to DATA.
    pub data_start: Duration,
    /// For each part of the mail to be taken by the network.
    pub data_block: Duration,
    /// For the answer to the final dot. Whoever gives up earlier sends many mails twice.
    pub data_end: Duration,
    /// For the answer to QUIT.
    pub quit: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Limits {
            begin: minutes(20),
            turn: minutes(5),
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            command: minutes(5),
            data_start: minutes(2),
            data_block: minutes(3),
            data_end: minutes(10),
            quit: Duration::from_secs(5),
        }
    }
}

/// A setting that can't be; names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadSettings {
    pub field: &'static str,
    pub reason: String,
}

impl Settings {
    /// With STARTTLS on port 587, ten connections.
    pub fn to(host: impl Into<String>) -> Settings {
        Settings {
            host: host.into(),
            port: 587,
            security: Security::StartTls,
            plain_is_fine: false,
            login: None,
            extra_roots: None,
            hello: None,
            connections: 10,
            mails_per_connection: 1_000,
            idle: Duration::from_secs(30),
            limits: Limits::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), BadSettings> {
        let bad = |field, reason: &str| Err(BadSettings { field, reason: reason.to_owned() });
        let word = |text: &str| {
            !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !word(&self.host) {
            return bad("host", "a name or an address, at most 255 characters");
        }
        if self.port == 0 {
            return bad("port", "from 1 to 65535");
        }
        if self.hello.as_deref().is_some_and(|hello| !word(hello)) {
            return bad("hello", "a name or an address in brackets, without spaces");
        }
        if self.connections == 0 || self.connections > 1_000 {
            return bad("connections", "from 1 to 1000");
        }
        let open = self.security == Security::None && !is_loopback(&self.host);
        if open && !self.plain_is_fine {
            return bad("security", "no TLS is for this machine only; plain_is_fine allows it");
        }
        match &self.login {
            Some(_) if open => bad("login", "is never sent without TLS to another machine"),
            Some(login) if login.user.contains('\0') || login.secret.reveal().contains('\0') => {
                bad("login", "holds a zero byte")
            }
            Some(login) if login.user.len() > 500 || login.secret.reveal().len() > 2_000 => {
                bad("login", "is too long")
            }
            _ => Ok(()),
        }
    }

    /// How this account is called in logs.
    pub(super) fn account(&self) -> String {
        match &self.login {
            Some(login) => format!("{}:{} as {}", self.host, self.port, login.user),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    pub(super) fn tls(&self) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, BadSettings> {
        if self.security == Security::None {
            return Ok(None);
        }
        let bad = |field, reason: String| BadSettings { field, reason };
        let host = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| bad("host", error.to_string()))?;
        let mut roots = RootCertStore::empty();
        // Where the system has none, those that are given may do.
        let _ = tls::add_native(&mut roots);
        if let Some(pem) = &self.extra_roots {
            tls::add_pem(&mut roots, pem).map_err(|error| bad("extra_roots", error))?;
        }
        if roots.is_empty() {
            let reason = "this system has no certificates of authorities, and none are given";
            return Err(bad("extra_roots", reason.to_owned()));
        }
        let config = tls::client(roots).map_err(|error| bad("security", error.to_string()))?;
        Ok(Some((Arc::new(config), name)))
    }
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Option<Login> {
        Some(Login { user: "shop".to_owned(), secret: Secret::new("open sesame") })
    }

    #[test]
    fn what_would_be_read_by_others_is_refused() {
        let plain = |host: &str| Settings { security: Security::None, ..Settings::to(host) };
        let field = |settings: Settings| settings.check().err().map(|bad| bad.field);
        for near in ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
            assert_eq!(field(Settings { login: login(), ..plain(near) }), None, "{near}");
        }
        for far in ["mail.example.org", "192.0.2.1", "localhost.example.org", "127.0.0.1.example.org"] {
            assert_eq!(field(plain(far)), Some("security"), "{far}");
            let allowed = Settings { plain_is_fine: true, ..plain(far) };
            assert_eq!(field(allowed.clone()), None);
            assert_eq!(field(Settings { login: login(), ..allowed }), Some("login"));
            assert_eq!(field(Settings { login: login(), ..Settings::to(far) }), None);
        }
    }

    #[test]
    fn a_bad_setting_is_named() {
        let good = Settings::to("mail.example.org");
        let bad = [
            ("host", Settings { host: "a b".into(), ..good.clone() }),
            ("host", Settings { host: String::new(), ..good.clone() }),
            ("port", Settings { port: 0, ..good.clone() }),
            ("hello", Settings { hello: Some("me\r\nRSET".into()), ..good.clone() }),
            ("connections", Settings { connections: 0, ..good.clone() }),
        ];
        for (field, settings) in bad {
            assert_eq!(settings.check().unwrap_err().field, field);
        }
        for roots in ["nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let settings = Settings { extra_roots: Some(roots.into()), ..good.clone() };
            assert_eq!(settings.tls().unwrap_err().field, "extra_roots");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let settings = Settings { login: login(), ..Settings::to("mail.example.org") };
        assert!(!format!("{settings:?} {}", settings.account()).contains("sesame"));
    }
}
