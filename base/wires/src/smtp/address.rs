//! Addresses as they stand in an envelope.

use std::fmt;

/// An address of mail: `local@domain`, checked so that nothing in it can end a command early.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    local: String,
    /// In ASCII, other letters as IDNA has them (RFC 5891), or an address literal.
    domain: String,
}

/// What is wrong with an address. Does not hold the address, which is personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("an address has an @ with something on both sides")]
    NoAt,
    #[error("an address has no spaces, control characters, <, > or \\")]
    Character,
    #[error("the part before the @ has at most 64 bytes, the whole at most 254 (RFC 5321, section 4.5.3.1)")]
    Long,
    #[error("the domain is none")]
    Domain,
}

/// From whom to whom, which need not be what the mail's own headers say. One recipient: then an answer is about that one alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where reports of failure go. `None` is the empty reverse path: none are wanted (RFC 5321, section 4.5.5).
    pub from: Option<Address>,
    pub to: Address,
}

impl Address {
    /// The local part is not quoted; a domain of other letters is turned into ASCII.
    pub fn parse(text: &str) -> Result<Address, BadAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(BadAddress::NoAt)?;
        if local.is_empty() || domain.is_empty() {
            return Err(BadAddress::NoAt);
        }
        let forbidden = |c: char| c.is_control() || c.is_whitespace() || "<>\\\"(),:;@[]".contains(c);
        if local.contains(forbidden) {
            return Err(BadAddress::Character);
        }
        let domain = domain_in_ascii(domain)?;
        if local.len() > 64 || local.len() + 1 + domain.len() > 254 {
            return Err(BadAddress::Long);
        }
        Ok(Address { local: local.to_owned(), domain })
    }

    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether only a server with SMTPUTF8 takes it (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

fn domain_in_ascii(domain: &str) -> Result<String, BadAddress> {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = literal.strip_prefix("IPv6:").unwrap_or(literal);
        return address
            .parse::<std::net::IpAddr>()
            .map_or(Err(BadAddress::Domain), |_| Ok(domain.to_owned()));
    }
    let ascii = idna::domain_to_ascii(domain).map_err(|_| BadAddress::Domain)?;
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(fits)
    };
    if ascii.split('.').all(label) { Ok(ascii) } else { Err(BadAddress::Domain) }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// The domain alone: the whole is personal.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…@{}", self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_taken_and_refused_with_a_reason() {
        let parsed = |text: &str| Address::parse(text).map(|address| address.to_string());
        for good in [
            "anna@example.org",
            "a.b+c@mail.example.org",
            "o'neil@host",
            "me@[127.0.0.1]",
            "анна@example.org",
        ] {
            assert_eq!(parsed(good).as_deref(), Ok(good));
        }
        assert_eq!(parsed("anna@Пример.рф").as_deref(), Ok("anna@xn--e1afmkfd.xn--p1ai"));
        let long = format!("{}@example.org", "a".repeat(65));
        for (bad, why) in [
            ("anna", BadAddress::NoAt),
            ("@example.org", BadAddress::NoAt),
            ("anna@", BadAddress::NoAt),
            ("an na@example.org", BadAddress::Character),
            ("anna>\r\nDATA@example.org", BadAddress::Character),
            ("a@b@example.org", BadAddress::Character),
            ("anna@exa mple.org", BadAddress::Domain),
            ("anna@example..org", BadAddress::Domain),
            ("anna@[not]", BadAddress::Domain),
            (&long, BadAddress::Long),
        ] {
            assert_eq!(parsed(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn what_is_personal_is_not_shown() {
        let address = Address::parse("anna@example.org").unwrap();
        let envelope = Envelope { from: None, to: address };
        assert!(!format!("{envelope:?}").contains("anna"));
    }

    proptest! {
        #[test]
        fn nothing_taken_can_end_a_command(text in any::<String>(), at in "[\\PC\r\n]{1,20}@[a-z.\r\n]{1,20}") {
            for text in [text, at] {
                if let Ok(address) = Address::parse(&text) {
                    let shown = address.to_string();
                    prop_assert!(!shown.contains(|c: char| c.is_control() || c.is_whitespace() || c == '<' || c == '>'));
                    prop_assert!(shown.len() <= 254);
                    prop_assert_eq!(Address::parse(&shown), Ok(address));
                }
            }
        }
    }
}
