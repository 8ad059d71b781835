//! One connection: from its greeting to the end of the login, and its end.

use super::reply::{self, Reply};
use super::settings::{Limits, Security, Settings};
use crate::link::{Fault, Link, Stream, within};
use crate::said::{Said, Stage, Step};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a server says it can do (RFC 5321, section 4.1.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    pub pipelining: bool,
    pub eight_bit: bool,
    pub utf8: bool,
    pub starttls: bool,
    /// It takes a size with MAIL, and none above this one; 0 means that it says no number (RFC 1870).
    pub size: Option<u64>,
    pub plain: bool,
    pub login: bool,
}

impl Abilities {
    /// From the answer to EHLO, whose first line is the server's name.
    fn of(text: &str) -> Abilities {
        let mut found = Abilities::default();
        for line in text.lines().skip(1) {
            let line = line.trim().to_ascii_uppercase();
            let mut words = line.split([' ', '=']);
            match words.next().unwrap_or_default() {
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit = true,
                "SMTPUTF8" => found.utf8 = true,
                "STARTTLS" => found.starttls = true,
                "SIZE" => found.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0)),
                "AUTH" => words.for_each(|way| match way {
                    "PLAIN" => found.plain = true,
                    "LOGIN" => found.login = true,
                    _ => {}
                }),
                _ => {}
            }
        }
        found
    }
}

pub(super) struct Connection {
    pub link: Link,
    pub abilities: Abilities,
    /// Mails that went over it.
    pub mails: u64,
    /// The server may still hold a half of the last mail's envelope: RSET comes first.
    pub reset: bool,
    /// When it was used last.
    pub used: Instant,
    /// Commands are put together here.
    pub out: Vec<u8>,
}

pub(super) type Tls = Option<(Arc<ClientConfig>, ServerName<'static>)>;

/// Why there is no connection. An answer of the server is given as such if it is one about now or about our login; what else it
/// refuses before any mail is not about that mail, and its code must not be taken for an answer about a recipient.
pub(super) struct Unopened(pub Said);

impl From<Fault> for Unopened {
    fn from(fault: Fault) -> Unopened {
        Unopened(Said::Broken { stage: Stage::Before, text: fault.to_string() })
    }
}

fn unopened(text: impl Into<String>) -> Unopened {
    Unopened(Said::Broken { stage: Stage::Before, text: text.into() })
}

fn refused(what: &str, reply: Reply) -> Unopened {
    // 530, 534, 535, 538: RFC 4954, section 6.
    match reply.code {
        400..=499 | 530 | 534 | 535 | 538 => Unopened(reply.said(Step::Connection)),
        code => unopened(format!("the server answered {code} to {what}")),
    }
}

impl Connection {
    pub async fn open(settings: &Settings, tls: &Tls) -> Result<Connection, Unopened> {
        let limits = &settings.limits;
        let host = settings.host.trim_start_matches('[').trim_end_matches(']');
        let plain = within(limits.connect, TcpStream::connect((host, settings.port))).await?;
        plain.set_nodelay(true).map_err(Fault::from)?;
        let mut link = match (settings.security, tls) {
            (Security::Tls, Some(tls)) => encrypt(plain, tls, limits).await?,
            _ => Link::new(Stream::Plain(plain)),
        };
        let greeting = reply::read(&mut link, limits.greeting).await?;
        if greeting.code != 220 {
            return Err(refused("the connection", greeting));
        }
        let mut abilities = hello(&mut link, settings).await?;
        if let (Security::StartTls, Some(tls)) = (settings.security, tls) {
            if !abilities.starttls {
                return Err(unopened("the server has no STARTTLS, and the settings ask for it"));
            }
            let reply = ask(&mut link, b"STARTTLS\r\n", limits).await?;
            if reply.code != 220 {
                return Err(refused("STARTTLS", reply));
            }
            link = encrypt(link.into_plain()?, tls, limits).await?;
            abilities = hello(&mut link, settings).await?;
        }
        log_in(&mut link, &abilities, settings).await?;
        Ok(Connection { link, abilities, mails: 0, reset: false, used: Instant::now(), out: Vec::new() })
    }

    /// Says goodbye and waits for the answer a little, as RFC 5321 asks for (section 4.1.1.10).
    pub async fn quit(mut self, limits: Limits) {
        if self.link.write(b"QUIT\r\n", limits.quit, &mut false).await.is_ok() {
            let _ = reply::read(&mut self.link, limits.quit).await;
        }
        self.link.shut(limits.quit).await;
    }
}

async fn encrypt(
    plain: TcpStream,
    (config, name): &(Arc<ClientConfig>, ServerName<'static>),
    limits: &Limits,
) -> Result<Link, Unopened> {
    let connect = TlsConnector::from(config.clone()).connect(name.clone(), plain);
    match tokio::time::timeout(limits.connect, connect).await {
        Ok(Ok(stream)) => Ok(Link::new(Stream::Tls(Box::new(stream.into())))),
        // Such as a certificate that nobody known has signed.
        Ok(Err(error)) => Err(unopened(format!("no TLS: {error}"))),
        Err(_) => Err(Fault::Late(limits.connect).into()),
    }
}

async fn ask(link: &mut Link, command: &[u8], limits: &Limits) -> Result<Reply, Fault> {
    link.write(command, limits.command, &mut false).await?;
    reply::read(link, limits.command).await
}

/// EHLO, or HELO where the server does not know the former: that one can do nothing more.
async fn hello(link: &mut Link, settings: &Settings) -> Result<Abilities, Unopened> {
    let name = settings.hello.clone().unwrap_or_else(|| match link.local_address() {
        Some(std::net::IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        Some(std::net::IpAddr::V4(address)) => format!("[{address}]"),
        None => "[127.0.0.1]".to_owned(),
    });
    let reply = ask(link, format!("EHLO {name}\r\n").as_bytes(), &settings.limits).await?;
    if reply.good() {
        return Ok(Abilities::of(&reply.text));
    }
    if !matches!(reply.code, 500 | 501 | 502 | 504) {
        return Err(refused("EHLO", reply));
    }
    let reply = ask(link, format!("HELO {name}\r\n").as_bytes(), &settings.limits).await?;
    if reply.good() { Ok(Abilities::default()) } else { Err(refused("HELO", reply)) }
}

/// AUTH PLAIN (RFC 4616), else LOGIN, which has no standard and is all that some servers know.
async fn log_in(link: &mut Link, abilities: &Abilities, settings: &Settings) -> Result<(), Unopened> {
    let Some(login) = &settings.login else { return Ok(()) };
    // The settings were checked; this holds it where the secret goes out.
    if !link.encrypted() && settings.security != Security::None {
        return Err(unopened("the connection is not under TLS: no login"));
    }
    let limits = &settings.limits;
    let reply = if abilities.plain {
        let both = STANDARD.encode(format!("\0{}\0{}", login.user, login.secret.reveal()));
        ask(link, format!("AUTH PLAIN {both}\r\n").as_bytes(), limits).await?
    } else if abilities.login {
        let mut reply = ask(link, b"AUTH LOGIN\r\n", limits).await?;
        for word in [&login.user, login.secret.reveal()] {
            if reply.code == 334 {
                reply = ask(link, format!("{}\r\n", STANDARD.encode(word)).as_bytes(), limits).await?;
            }
        }
        reply
    } else {
        return Err(unopened("the server takes no login by PLAIN or LOGIN, and the settings have one"));
    };
    if reply.code == 235 { Ok(()) } else { Err(refused("the login", reply)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_are_read_from_what_servers_write() {
        let text = "mail.example.org\npipelining\nSIZE 10240000\n8BITMIME\nSMTPUTF8\nAUTH PLAIN XOAUTH2\nAUTH=LOGIN\nX-OTHER a";
        let found = Abilities::of(text);
        assert!(
            found.pipelining
                && found.eight_bit
                && found.utf8
                && found.plain
                && found.login
                && !found.starttls
        );
        assert_eq!(found.size, Some(10_240_000));
        // The first line is a name, even one like this.
        assert_eq!(Abilities::of("PIPELINING"), Abilities::default());
        for (text, size) in [("h\nSIZE", Some(0)), ("h\nSIZE x", Some(0)), ("h\nSIZES 5", None)] {
            assert_eq!(Abilities::of(text).size, size);
        }
    }

    #[test]
    fn what_is_refused_before_a_mail_is_not_about_the_mail() {
        let of = |code| refused("EHLO", Reply { code, enhanced: None, text: String::new() }).0;
        for own in [421, 454, 530, 535] {
            assert!(matches!(of(own), Said::Smtp { code, .. } if code == own));
        }
        for other in [550, 554, 501] {
            assert!(matches!(of(other), Said::Broken { stage: Stage::Before, .. }));
        }
    }
}
