//! E-mail addresses: the part of RFC 5321 and 5322 that is in use. Quoted local parts, comments and address literals are valid by
//! the standards and refused here: outside of tests they are mistakes or attacks.

use super::{BadAddress, first};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An address of one mailbox, its domain in ASCII (punycode where it has other letters) and in lower case.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email {
    local: String,
    domain: String,
}

/// RFC 5321, section 4.5.3.1; the whole path of 256 has two brackets.
const MOST_LOCAL: usize = 64;
const MOST_DOMAIN: usize = 255;
const MOST: usize = 254;

fn wrong<T>(reason: impl Into<String>) -> Result<T, BadAddress> {
    Err(BadAddress::new("email", reason))
}

impl FromStr for Email {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Email, BadAddress> {
        if text.is_empty() {
            return wrong("is empty");
        }
        if text.len() > 4 * MOST {
            return wrong(format!("is longer than {MOST} characters"));
        }
        // Before anything else: a line end in an address is a header of somebody else's.
        if let Some(bad) = text.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return wrong(format!("holds the control character U+{:04X}", u32::from(bad)));
        }
        if text.chars().any(char::is_whitespace) {
            return wrong("holds a space; give the address alone, without a name");
        }
        if text.contains(['<', '>', ',', ';']) {
            return wrong("is more than one address; give it alone, such as ivan@example.com");
        }
        let Some((local, domain)) = text.rsplit_once('@') else {
            return wrong("has no '@'");
        };
        check_local(local)?;
        let domain = ascii_domain(domain)?;
        if local.len() + 1 + domain.len() > MOST {
            return wrong(format!("is longer than {MOST} characters"));
        }
        Ok(Email { local: local.to_owned(), domain })
    }
}

/// `atext` of RFC 5322, section 3.2.3, with letters beyond ASCII (RFC 6532).
fn is_atext(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn check_local(local: &str) -> Result<(), BadAddress> {
    if local.is_empty() {
        return wrong("has nothing before the '@'");
    }
    if local.len() > MOST_LOCAL {
        return wrong(format!("has more than {MOST_LOCAL} bytes before the '@'"));
    }
    if local.starts_with('"') {
        return wrong("is in quotation marks, which hardly any server takes");
    }
    if let Some(bad) = local.chars().find(|c| !is_atext(*c) && *c != '.') {
        return wrong(format!("holds '{bad}', which is not allowed before the '@'"));
    }
    if local.split('.').any(str::is_empty) {
        return wrong("has a point at the beginning or end, or two in a row, before the '@'");
    }
    Ok(())
}

fn ascii_domain(domain: &str) -> Result<String, BadAddress> {
    if domain.is_empty() {
        return wrong("has nothing behind the '@'");
    }
    if domain.starts_with('[') {
        return wrong("has an address in place of a domain's name");
    }
    let Ok(domain) = idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::URL) else {
        return wrong("has a domain that is no domain name");
    };
    if domain.len() > MOST_DOMAIN {
        return wrong(format!("has a domain of more than {MOST_DOMAIN} characters"));
    }
    let labels: Vec<&str> = domain.split('.').collect();
    if labels.len() < 2 {
        return wrong("has a domain without a point");
    }
    for label in &labels {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if label.is_empty() || label.len() > 63 || !label.bytes().all(good) {
            return wrong("has a domain that is no domain name");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return wrong("has a domain with a hyphen at the edge of a part");
        }
    }
    if labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return wrong("has a number as its top domain");
    }
    Ok(domain.into_owned())
}

impl Email {
    /// Before the `@`, as it was given: only its server knows whether capitals matter.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Behind the `@`, in ASCII and lower case: what pacing per domain goes by.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the server has to know SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii()
    }

    /// In lower case as a whole: no server in use tells mailboxes apart by capitals.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }

    pub fn masked(&self) -> String {
        format!("{}@{}", first(&self.local, 1), self.domain)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}
/// Masked: debugging texts get into logs.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}
string_form!(Email, BadAddress);
