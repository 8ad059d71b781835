//! Answers of a server (RFC 5321, section 4.2; RFC 2034).

use crate::link::{Fault, Link};
use crate::said::{Said, Step};
use std::time::Duration;

/// RFC 5321 has 512 bytes; servers write more.
const LONGEST_LINE: usize = 4096;
const MOST_LINES: usize = 128;
/// Bytes of text that are kept.
const MOST_TEXT: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    /// Of RFC 3463.
    pub enhanced: Option<String>,
    /// Its lines, without the codes.
    pub text: String,
}

impl Reply {
    pub fn good(&self) -> bool {
        self.code / 100 == 2
    }

    pub fn said(self, step: Step) -> Said {
        Said::Smtp { step, code: self.code, enhanced: self.enhanced, text: self.text }
    }

    /// What the server calls the mail from now on. There is no rule for it: these are the words of those that are widely used
    /// (Postfix, Exim, and a bare id after OK).
    pub fn reference(&self) -> Option<String> {
        let after = |mark: &str| self.text.split_once(mark).map(|(_, rest)| rest);
        let word = |text: &str| {
            let end = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';' | ')');
            text.trim_start_matches('<').split(end).next().map(str::to_owned)
        };
        let bare = || {
            let (ok, rest) = self.text.trim().split_once(' ')?;
            let id = rest.len() >= 8 && !rest.contains(' ') && rest.contains(|c: char| c.is_ascii_digit());
            (ok.eq_ignore_ascii_case("ok") && id).then(|| rest.to_owned())
        };
        let found = after("queued as ").or_else(|| after("id=")).and_then(word).or_else(bare)?;
        (!found.is_empty() && found.len() <= 128).then_some(found)
    }
}

pub(super) async fn read(link: &mut Link, limit: Duration) -> Result<Reply, Fault> {
    let (mut reply, mut ended): (Option<Reply>, bool) = (None, false);
    for _ in 0..MOST_LINES {
        let line = link.line(LONGEST_LINE, limit).await?;
        let (code, last, rest) = split(line).ok_or(Fault::Senseless("no answer as SMTP has it"))?;
        let rest = String::from_utf8_lossy(rest);
        let (enhanced, text) = enhanced(code, &rest);
        match &mut reply {
            None => {
                reply = Some(Reply { code, enhanced: enhanced.map(str::to_owned), text: text.to_owned() })
            }
            Some(reply) if reply.code != code => return Err(Fault::Senseless("an answer of two codes")),
            Some(reply) if reply.text.len() + text.len() < MOST_TEXT => {
                reply.text.push('\n');
                reply.text.push_str(text);
            }
            Some(_) => {}
        }
        ended = last;
        if ended {
            break;
        }
    }
    reply.filter(|_| ended).ok_or(Fault::Senseless("an answer without an end"))
}

/// Code, whether it is the last line, text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let fits = matches!(digits[0], b'2'..=b'5') && digits.iter().all(u8::is_ascii_digit);
    let code = std::str::from_utf8(digits).ok().filter(|_| fits)?.parse().ok()?;
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}

/// The code of RFC 3463 in front of the text, if it is one and says the same as the answer's own.
fn enhanced(code: u16, text: &str) -> (Option<&str>, &str) {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = first.split('.');
    let class = parts.next().and_then(|class| class.parse::<u16>().ok());
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let fits =
        class == Some(code / 100) && first.len() >= 5 && parts.clone().count() == 2 && parts.all(number);
    if fits { (Some(first), rest) } else { (None, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_and_codes_found() {
        assert_eq!(split(b"250 2.0.0 Ok"), Some((250, true, &b"2.0.0 Ok"[..])));
        assert_eq!(split(b"250-SIZE"), Some((250, false, &b"SIZE"[..])));
        assert_eq!(split(b"354"), Some((354, true, &b""[..])));
        for bad in ["", "25", "2x0 a", "150 a", "650 a", "250_a", "2500 a", "HTTP/1.1 400"] {
            assert_eq!(split(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(enhanced(550, "5.1.1 no such user"), (Some("5.1.1"), "no such user"));
        assert_eq!(enhanced(550, "5.7.509"), (Some("5.7.509"), ""));
        for text in ["4.1.1 x", "5.1 x", "5.1.1.1 x", "5.1.x x", "5.1.1234 x", "no", ""] {
            assert_eq!(enhanced(550, text), (None, text));
        }
    }

    #[test]
    fn the_reference_is_found_in_the_words_of_known_servers() {
        let of = |text: &str| Reply { code: 250, enhanced: None, text: text.to_owned() }.reference();
        assert_eq!(of("Ok: queued as 4XyZ12abc").as_deref(), Some("4XyZ12abc"));
        assert_eq!(of("OK id=1tYQ2A-0001Bx-2C").as_deref(), Some("1tYQ2A-0001Bx-2C"));
        assert_eq!(of("Ok 0102018c-2f-4b").as_deref(), Some("0102018c-2f-4b"));
        assert_eq!(of("Message queued as <abc@host>, thanks").as_deref(), Some("abc@host"));
        for none in ["Ok", "accepted for delivery", "queued as ", ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
