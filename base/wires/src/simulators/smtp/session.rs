//! One connection with a client.

use super::{Early, Moment, Shared, Tls, content};
use crate::link::{Fault, Link, Stream, within};
use crate::simulators::{Arrival, Behaviour, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;

/// With what extensions add (RFC 4954, section 4.3: 12288 for AUTH).
const LONGEST_LINE: usize = 12_288;
const MOST_ERRORS: u32 = 20;
const MOST_LINGER: Duration = Duration::from_secs(2);
const MOST_DELAY: Duration = Duration::from_secs(3_600);

struct Session {
    shared: Arc<Shared>,
    /// Answers that are not written yet: many at once where many commands came at once.
    out: Vec<u8>,
    account: String,
    greeted: bool,
    encrypted: bool,
    /// Of the mail that is under way.
    from: Option<String>,
    utf8: bool,
    to: Vec<String>,
    errors: u32,
}

/// What comes after a command.
#[derive(PartialEq, Eq)]
enum Next {
    Command,
    Content,
    Tls,
    /// AUTH, with the rest of its line.
    Login(String),
    End,
}

pub(super) async fn run(stream: TcpStream, shared: Arc<Shared>) {
    let turn = shared.turns.clone().try_acquire_owned();
    let limit = shared.settings.idle;
    let _ = stream.set_nodelay(true);
    let (stream, encrypted) = match (&shared.settings.tls, &shared.acceptor) {
        (Tls::Implicit { .. }, Some(acceptor)) => match within(limit, acceptor.accept(stream)).await {
            Ok(tls) => (Stream::Tls(Box::new(tls.into())), true),
            // Whoever does not trust the certificate goes away here.
            Err(_) => return,
        },
        _ => (Stream::Plain(stream), false),
    };
    let mut session = Session::new(shared, encrypted);
    let link = Link::new(stream);
    if turn.is_err() {
        session.say("421 4.7.0 too many connections");
        return session.end(link).await;
    }
    if session.gate(Moment::Connected).is_some() {
        return session.end(link).await;
    }
    session.say("220 simulator ESMTP");
    // A connection that failed has nobody who could be told.
    let _ = session.talk(link).await;
}

impl Session {
    fn new(shared: Arc<Shared>, encrypted: bool) -> Session {
        Session {
            shared,
            encrypted,
            out: Vec::new(),
            account: String::new(),
            greeted: false,
            from: None,
            utf8: false,
            to: Vec::new(),
            errors: 0,
        }
    }

    async fn talk(mut self, mut link: Link) -> Result<(), Fault> {
        let limit = self.shared.settings.idle;
        loop {
            if !link.unread().contains(&b'\n') {
                link.write(&self.out, limit, &mut false).await?;
                self.out.clear();
            }
            let next = match link.line(LONGEST_LINE, limit).await {
                Ok(line) => {
                    let line = String::from_utf8_lossy(line).into_owned();
                    self.command(&line)
                }
                Err(Fault::Late(_)) => self.last("421 4.4.2 nothing came for a while"),
                Err(Fault::LongLine(_)) => self.last("500 5.5.2 a line is too long"),
                Err(fault) => return Err(fault),
            };
            let ahead = self.without("PIPELINING") && !link.unread().is_empty();
            let next = match next {
                Next::Command | Next::Content if ahead => self.last("503 5.5.0 commands ahead of answers"),
                Next::Content => self.content(&mut link).await?,
                Next::Login(rest) => self.log_in(&mut link, &rest).await?,
                Next::Tls => {
                    link.write(&self.out, limit, &mut false).await?;
                    link = self.encrypt(link).await?;
                    Next::Command
                }
                next => next,
            };
            if next == Next::End {
                self.end(link).await;
                return Ok(());
            }
        }
    }

    /// What the client still sends is read for a moment: closed over it, the system would take back the last answer.
    async fn end(self, mut link: Link) {
        let limit = self.shared.settings.idle.min(MOST_LINGER);
        let _ = link.write(&self.out, limit, &mut false).await;
        link.shut(limit).await;
        let rest = async {
            while link.read_more(limit).await.is_ok() {
                link.take(usize::MAX);
            }
        };
        let _ = tokio::time::timeout(limit, rest).await;
    }

    /// A command line, and its answer unless it takes more than a line.
    fn command(&mut self, line: &str) -> Next {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" if rest.trim().is_empty() => self.error("501 5.5.4 a name is missing"),
            "EHLO" if self.without("EHLO") => self.error("502 5.5.1 unknown"),
            "EHLO" => self.hello(),
            "HELO" => {
                (self.greeted, self.from) = (true, None);
                self.good("250 simulator")
            }
            "MAIL" => self.mail(rest),
            "RCPT" => self.recipient(rest),
            "DATA" if self.from.is_none() => self.error("503 5.5.1 MAIL comes first"),
            "DATA" if self.to.is_empty() => self.error("554 5.5.1 no recipient"),
            "DATA" => {
                self.say("354 the mail, then a dot");
                Next::Content
            }
            "RSET" => {
                self.forget();
                self.good("250 2.0.0 forgotten")
            }
            "NOOP" => self.good("250 2.0.0 here"),
            "VRFY" => self.good("252 2.5.0 not told"),
            "QUIT" => self.last("221 2.0.0 goodbye"),
            "STARTTLS" if self.offers_tls() => {
                self.say("220 2.0.0 go on");
                Next::Tls
            }
            "AUTH" if !self.greeted || self.from.is_some() || !self.account.is_empty() => {
                self.error("503 5.5.1 not now")
            }
            "AUTH" => Next::Login(rest.to_owned()),
            _ => self.error("500 5.5.2 unknown"),
        }
    }

    fn hello(&mut self) -> Next {
        self.forget();
        self.greeted = true;
        let size = format!("SIZE {}", self.shared.settings.mail);
        let mut abilities =
            vec!["simulator", "PIPELINING", &size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
        abilities.push("AUTH PLAIN LOGIN");
        if self.offers_tls() {
            abilities.push("STARTTLS");
        }
        abilities.retain(|ability| !self.without(ability.split(' ').next().unwrap_or_default()));
        for (n, ability) in abilities.iter().enumerate() {
            let more = if n + 1 < abilities.len() { '-' } else { ' ' };
            self.out.extend_from_slice(format!("250{more}{ability}\r\n").as_bytes());
        }
        Next::Command
    }

    fn mail(&mut self, rest: &str) -> Next {
        if !self.greeted || self.from.is_some() {
            return self.error("503 5.5.1 MAIL is not what comes now");
        }
        let Some((address, parameters)) = path(rest, "FROM:") else {
            return self.error("501 5.5.4 MAIL FROM:<address>");
        };
        self.utf8 = false;
        for parameter in parameters.split_whitespace() {
            match parameter.to_ascii_uppercase().split_once('=') {
                Some(("SIZE", size)) if !self.without("SIZE") => match size.parse::<usize>() {
                    Ok(size) if size <= self.shared.settings.mail => {}
                    Ok(_) => return self.error("552 5.3.4 the mail is too large"),
                    Err(_) => return self.error("501 5.5.4 SIZE is a number"),
                },
                Some(("BODY", "7BIT" | "8BITMIME")) if !self.without("8BITMIME") => {}
                Some(("AUTH", _)) => {}
                None if parameter.eq_ignore_ascii_case("SMTPUTF8") && !self.without("SMTPUTF8") => {
                    self.utf8 = true
                }
                _ => return self.error("555 5.5.4 an unknown parameter"),
            }
        }
        if !address.is_empty() && !self.readable(address) {
            return self.error("553 5.1.7 no address, or one that needs SMTPUTF8");
        }
        if let Some(next) = self.gate(Moment::From(address)) {
            return next;
        }
        self.from = Some(address.to_owned());
        self.good("250 2.1.0 good")
    }

    fn recipient(&mut self, rest: &str) -> Next {
        if self.from.is_none() {
            return self.error("503 5.5.1 MAIL comes first");
        }
        let address = match path(rest, "TO:") {
            Some((address, "")) => address,
            Some(_) => return self.error("555 5.5.4 an unknown parameter"),
            None => return self.error("501 5.5.4 RCPT TO:<address>"),
        };
        if !self.readable(address) {
            return self.error("553 5.1.3 no address, or one that needs SMTPUTF8");
        }
        if self.to.len() >= self.shared.settings.recipients {
            return self.error("452 4.5.3 too many recipients");
        }
        let before = self.out.len();
        if let Some(next) = self.gate(Moment::To(address)) {
            let answer = String::from_utf8_lossy(&self.out[before.min(self.out.len())..]).trim().to_owned();
            let (account, to) = (self.account.clone(), address.to_owned());
            let answer = if answer.is_empty() { "no answer".to_owned() } else { answer };
            self.shared.board.put(Arrival { provider: "smtp", account, to, answer, ..Arrival::default() });
            return next;
        }
        self.to.push(address.to_owned());
        self.good("250 2.1.5 good")
    }

    /// The mail itself, and what its recipients' judge says.
    async fn content(&mut self, link: &mut Link) -> Result<Next, Fault> {
        let (limit, most) = (self.shared.settings.idle, self.shared.settings.mail);
        link.write(&self.out, limit, &mut false).await?;
        self.out.clear();
        let content = content::read(link, most, limit).await?;
        let recipients = std::mem::take(&mut self.to);
        self.forget();
        let Some(content) = content else { return Ok(self.error("552 5.3.4 the mail is too large")) };
        let reference = format!("sim-{}", 1 + self.shared.last.fetch_add(1, Ordering::Relaxed));
        let seen = Arrival { account: self.account.clone(), reference, ..content::arrival(&content) };
        drop(content);
        let arrivals = recipients.into_iter().map(|to| Arrival { to, ..seen.clone() });
        let judged: Vec<_> = arrivals.map(|arrival| ((self.shared.judge)(&arrival), arrival)).collect();
        // The mail has one answer: the first refusal is everybody's.
        let (mut delay, mut lost, mut refusal) = (Duration::ZERO, false, None);
        for (Behaviour { delay: own, refusal: refused, lose_reply, .. }, _) in &judged {
            delay = delay.max(*own);
            lost |= lose_reply;
            refusal = refusal.or_else(|| refused.clone());
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay.min(MOST_DELAY)).await;
        }
        let answer = match &refusal {
            Some(refusal) => line(refusal),
            None => format!("250 2.0.0 queued as {}", seen.reference),
        };
        for (_, mut arrival) in judged {
            arrival.taken = refusal.is_none();
            arrival.answer = match (lost, &refusal) {
                (true, _) => "no answer".to_owned(),
                (false, None) => "250".to_owned(),
                (false, Some(_)) => answer.clone(),
            };
            self.shared.board.put(arrival);
        }
        if lost {
            return Ok(Next::End);
        }
        self.say(&answer);
        Ok(if answer.starts_with("421") { Next::End } else { Next::Command })
    }

    /// AUTH (RFC 4954): whoever comes is let in under the name that they say.
    async fn log_in(&mut self, link: &mut Link, rest: &str) -> Result<Next, Fault> {
        let (way, first) = rest.split_once(' ').unwrap_or((rest, ""));
        let user = match way.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let both = if first.is_empty() { self.ask(link, "").await? } else { decoded(first) };
                both.and_then(|both| both.split('\0').nth(1).map(str::to_owned))
            }
            "LOGIN" => {
                let user = if first.is_empty() { self.ask(link, "Username:").await? } else { decoded(first) };
                match user {
                    Some(user) => self.ask(link, "Password:").await?.map(|_| user),
                    None => None,
                }
            }
            _ => return Ok(self.error("504 5.5.4 PLAIN or LOGIN")),
        };
        let Some(user) = user.filter(|user| !user.is_empty()) else {
            return Ok(self.error("501 5.5.2 that is no login"));
        };
        if let Some(next) = self.gate(Moment::Login(&user)) {
            return Ok(next);
        }
        self.account = user;
        Ok(self.good("235 2.7.0 welcome"))
    }

    async fn ask(&mut self, link: &mut Link, question: &str) -> Result<Option<String>, Fault> {
        let limit = self.shared.settings.idle;
        self.say(&format!("334 {}", STANDARD.encode(question)));
        link.write(&self.out, limit, &mut false).await?;
        self.out.clear();
        let line = link.line(LONGEST_LINE, limit).await?;
        Ok(decoded(&String::from_utf8_lossy(line)))
    }

    /// Whoever is under TLS begins anew (RFC 3207, section 4.2).
    async fn encrypt(&mut self, link: Link) -> Result<Link, Fault> {
        let acceptor = self.shared.acceptor.clone().ok_or(Fault::Senseless("no certificate"))?;
        let stream = within(self.shared.settings.idle, acceptor.accept(link.into_plain()?)).await?;
        *self = Session::new(self.shared.clone(), true);
        Ok(Link::new(Stream::Tls(Box::new(stream.into()))))
    }

    /// What the gate wants done, if anything; an answer of its is said.
    fn gate(&mut self, moment: Moment<'_>) -> Option<Next> {
        match self.shared.settings.gate.as_ref()?(moment)? {
            Early::HangUp => {
                self.out.clear();
                Some(Next::End)
            }
            Early::Refuse(refusal) => {
                let line = line(&refusal);
                self.say(&line);
                let over = line.starts_with("421") || moment == Moment::Connected;
                Some(if over { Next::End } else { Next::Command })
            }
        }
    }

    fn offers_tls(&self) -> bool {
        matches!(self.shared.settings.tls, Tls::StartTls { .. })
            && !self.encrypted
            && !self.without("STARTTLS")
    }

    fn without(&self, ability: &str) -> bool {
        self.shared.settings.without.contains(&ability)
    }

    fn readable(&self, address: &str) -> bool {
        let form =
            address.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        let postmaster = address.eq_ignore_ascii_case("postmaster");
        (form || postmaster) && address.len() <= 320 && (self.utf8 || address.is_ascii())
    }

    fn forget(&mut self) {
        (self.from, self.utf8) = (None, false);
        self.to.clear();
    }

    fn say(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn good(&mut self, line: &str) -> Next {
        self.say(line);
        Next::Command
    }

    fn last(&mut self, line: &str) -> Next {
        self.say(line);
        Next::End
    }

    fn error(&mut self, line: &str) -> Next {
        self.errors += 1;
        if self.errors > MOST_ERRORS { self.last("421 4.7.0 too many errors") } else { self.good(line) }
    }
}

/// The address between the brackets, and the parameters behind it.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (head, rest) = rest.trim().split_at_checked(keyword.len())?;
    let (address, parameters) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    head.eq_ignore_ascii_case(keyword).then_some((address, parameters.trim()))
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()
}

/// A refusal as a line; one of another protocol as a failure in general.
fn line(refusal: &Refusal) -> String {
    let (code, enhanced, text) = match refusal {
        Refusal::Smtp { code, enhanced, text } => (*code, enhanced.as_str(), text.as_str()),
        _ => (554, "5.0.0", "refused"),
    };
    let one_line = |text: &str| text.replace(|c: char| c.is_control(), " ");
    let words = [code.to_string(), one_line(enhanced), one_line(text)];
    words.iter().filter(|word| !word.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
}
