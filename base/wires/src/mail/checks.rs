//! What can't stand in a mail is refused, with the field's name, and never repaired in silence.

use super::{Bounds, Letter, Mailbox};
use crate::smtp::{Address, LONGEST_LINE};

/// A field that can't be written. Its text holds nothing of the mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadLetter {
    /// As in [`Letter`], such as `from.address` or `headers.X-Shop`.
    pub field: String,
    pub reason: String,
}

impl BadLetter {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> BadLetter {
        BadLetter { field: field.into(), reason: reason.into() }
    }
}

type Checked = Result<(), BadLetter>;

/// These are written from the letter, or by servers on the way (RFC 5322, section 3.6; RFC 6376).
const OURS: [&str; 14] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "dkim-signature",
    "return-path",
    "received",
];

pub(super) fn check(letter: &Letter, bounds: &Bounds) -> Checked {
    mailbox("from", &letter.from)?;
    mailbox("to", &letter.to)?;
    letter.reply_to.as_ref().map_or(Ok(()), |reply_to| mailbox("reply_to", reply_to))?;
    one_line("subject", &letter.subject, bounds.subject)?;
    if letter.text.is_none() && letter.html.is_none() {
        return Err(BadLetter::new("text", "there is neither a text nor HTML"));
    }
    for (field, body) in [("text", &letter.text), ("html", &letter.html)] {
        let Some(body) = body else { continue };
        if body.len() > bounds.body {
            return Err(BadLetter::new(field, format!("has more than {} bytes", bounds.body)));
        }
        if body.contains('\0') {
            return Err(BadLetter::new(field, "holds a zero byte"));
        }
    }
    if !(0..253_402_300_800).contains(&letter.date) {
        return Err(BadLetter::new("date", "is not between the years 1970 and 9999"));
    }
    id("message_id", &letter.message_id, true)?;
    attached(letter, bounds)?;
    unsubscribe(letter)?;
    headers(letter, bounds)
}

/// Words that can't be broken may have made a line that servers refuse (RFC 5322, section 2.1.1).
pub(super) fn lines(content: &[u8]) -> Checked {
    let long = content.split(|byte| *byte == b'\n').any(|line| line.len() > LONGEST_LINE + 1);
    if long {
        Err(BadLetter::new("headers", format!("a word is longer than {LONGEST_LINE} bytes")))
    } else {
        Ok(())
    }
}

fn mailbox(field: &str, mailbox: &Mailbox) -> Checked {
    one_line(&format!("{field}.name"), &mailbox.name, 300)?;
    match Address::parse(&mailbox.address) {
        Ok(_) => Ok(()),
        Err(bad) => Err(BadLetter::new(format!("{field}.address"), bad.to_string())),
    }
}

/// A CR or LF would begin another header.
fn one_line(field: &str, text: &str, most: usize) -> Checked {
    line(text, most).map_err(|reason| BadLetter::new(field, reason))
}

fn line(text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        return Err(format!("has more than {most} bytes"));
    }
    if text.contains(|c: char| c.is_control() && c != '\t') {
        return Err("holds the end of a line or another control character".to_owned());
    }
    Ok(())
}

/// RFC 5322, section 3.6.4, without its obsolete forms.
fn id(field: &str, text: &str, with_domain: bool) -> Checked {
    let word = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        !part.is_empty() && part.bytes().all(fits)
    };
    let fits = match text.split_once('@') {
        Some((left, right)) => word(left) && word(right),
        None => !with_domain && word(text),
    };
    if fits && text.len() <= 250 {
        return Ok(());
    }
    let form = if with_domain { "word@word" } else { "word or word@word" };
    Err(BadLetter::new(field, format!("is not {form} in ASCII, without brackets, of at most 250 bytes")))
}

fn attached(letter: &Letter, bounds: &Bounds) -> Checked {
    if !letter.pictures.is_empty() && letter.html.is_none() {
        return Err(BadLetter::new("pictures", "there is no HTML that shows them"));
    }
    if letter.pictures.len() + letter.attachments.len() > bounds.attachments {
        return Err(BadLetter::new("attachments", format!("there are more than {}", bounds.attachments)));
    }
    let mut bytes = 0;
    for (n, picture) in letter.pictures.iter().enumerate() {
        id(&format!("pictures[{n}].id"), &picture.id, false)?;
        let bad = |reason| BadLetter::new(format!("pictures[{n}].kind"), reason);
        media_type(&picture.kind).map_err(bad)?;
        bytes += picture.bytes.len();
    }
    for (n, attachment) in letter.attachments.iter().enumerate() {
        let bad = |field: &str, reason| BadLetter::new(format!("attachments[{n}].{field}"), reason);
        file_name(&attachment.name).map_err(|reason| bad("name", reason))?;
        media_type(&attachment.kind).map_err(|reason| bad("kind", reason))?;
        bytes += attachment.bytes.len();
    }
    if bytes > bounds.attached {
        return Err(BadLetter::new("attachments", format!("have more than {} bytes", bounds.attached)));
    }
    Ok(())
}

pub(super) fn file_name(name: &str) -> Result<(), String> {
    line(name, 255)?;
    match name.is_empty() || name.contains(['/', '\\']) {
        true => Err("is empty, or names a folder".to_owned()),
        false => Ok(()),
    }
}

/// RFC 2045, section 5.1, without parameters. A part of several parts or of a mail is not for here.
pub(super) fn media_type(kind: &str) -> Result<(), String> {
    let token = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        (1..=127).contains(&part.len()) && part.bytes().all(fits)
    };
    let whole = |major: &str| !["multipart", "message"].iter().any(|kind| major.eq_ignore_ascii_case(kind));
    match kind.split_once('/') {
        Some((major, minor)) if token(major) && token(minor) && whole(major) => Ok(()),
        _ => Err("is no type such as application/pdf".to_owned()),
    }
}

fn unsubscribe(letter: &Letter) -> Checked {
    let Some(unsubscribe) = &letter.unsubscribe else { return Ok(()) };
    let url = &unsubscribe.url;
    let fits = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte));
    // RFC 8058, section 3.1: https alone.
    if !url.starts_with("https://") || url.len() > 900 || !fits {
        return Err(BadLetter::new("unsubscribe.url", "is no https URL in ASCII of at most 900 bytes"));
    }
    match unsubscribe.address.as_deref().map(Address::parse) {
        Some(Err(bad)) => Err(BadLetter::new("unsubscribe.address", bad.to_string())),
        Some(Ok(address)) if address.needs_utf8() || address.local().contains(['?', '&', '%']) => {
            Err(BadLetter::new("unsubscribe.address", "can't stand in a mailto URL as it is"))
        }
        _ => Ok(()),
    }
}

fn headers(letter: &Letter, bounds: &Bounds) -> Checked {
    if letter.headers.len() > bounds.headers {
        return Err(BadLetter::new("headers", format!("there are more than {}", bounds.headers)));
    }
    for (n, (name, value)) in letter.headers.iter().enumerate() {
        // RFC 5322, section 3.6.8.
        let fits = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if name.is_empty() || name.len() > 70 || !fits {
            return Err(BadLetter::new(format!("headers[{n}]"), "its name is none"));
        }
        let (field, lower) = (format!("headers.{name}"), name.to_ascii_lowercase());
        if OURS.contains(&lower.as_str()) || lower.starts_with("content-") {
            return Err(BadLetter::new(field, "is written from other fields"));
        }
        one_line(&field, value, bounds.header)?;
        if value.trim().is_empty() {
            return Err(BadLetter::new(field, "has no value"));
        }
    }
    Ok(())
}
