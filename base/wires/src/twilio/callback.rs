//! Reports: a form that the provider posts to a message's callback, and the signature that shows whose it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// The header with the signature.
pub const SIGNATURE: &str = "x-twilio-signature";
/// Bytes of a form that are read, and its parameters.
const MOST_FORM: usize = 64 << 10;
const MOST_PARAMETERS: usize = 256;

/// The parameters of a form; one may stand in it more than once.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Form(BTreeMap<String, BTreeSet<String>>);

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub sid: String,
    /// `queued`, `sending`, `sent`, `delivered`, `undelivered`, `failed`, …
    pub status: String,
    /// The provider's code, where the status is a failure.
    pub error_code: Option<u32>,
}

/// A form that is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    #[error("the form has more than {MOST_FORM} bytes or {MOST_PARAMETERS} parameters")]
    Long,
    #[error("the form has no {0}")]
    Missing(&'static str),
}

impl Form {
    /// Of `application/x-www-form-urlencoded`.
    pub fn read(body: &[u8]) -> Result<Form, BadForm> {
        if body.len() > MOST_FORM {
            return Err(BadForm::Long);
        }
        let mut form = Form::default();
        for (count, (name, value)) in form_urlencoded::parse(body).enumerate() {
            if count >= MOST_PARAMETERS {
                return Err(BadForm::Long);
            }
            form.0.entry(name.into_owned()).or_default().insert(value.into_owned());
        }
        Ok(form)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// Takes nothing on trust: [`Form::is_signed`] comes first.
    pub fn report(&self) -> Result<Report, BadForm> {
        let needed = |name| self.get(name).filter(|value| !value.is_empty()).ok_or(BadForm::Missing(name));
        Ok(Report {
            sid: needed("MessageSid")?.to_owned(),
            status: needed("MessageStatus")?.to_owned(),
            error_code: self.get("ErrorCode").and_then(|code| code.parse().ok()).filter(|code| *code > 0),
        })
    }

    /// Whether who signed this knows the account's token. `url` is what the provider was told to call, with its query. The port is
    /// left out of the signature or not, by the provider's whim, so both are good where it is the scheme's own or left out.
    pub fn is_signed(&self, token: &str, url: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let key = key(token);
        let fits = |url: &str| hmac::verify(&key, self.signed(url).as_bytes(), &signature).is_ok();
        fits(url) || other_port(url).is_some_and(|url| fits(&url))
    }

    /// The signature's text.
    pub fn sign(&self, token: &str, url: &str) -> String {
        STANDARD.encode(hmac::sign(&key(token), self.signed(url).as_bytes()))
    }

    /// The URL, and every name with its value behind it, in the order of the names.
    fn signed(&self, url: &str) -> String {
        let mut text = url.to_owned();
        for (name, values) in &self.0 {
            for value in values {
                text.push_str(name);
                text.push_str(value);
            }
        }
        text
    }
}

fn key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes())
}

/// The URL with the scheme's own port if it has none, without its port if it has one.
fn other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let port = authority
        .rsplit_once(':')
        .filter(|(_, port)| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()));
    Some(match port {
        Some((host, _)) => format!("{scheme}://{host}{rest}"),
        None => format!("{scheme}://{authority}:{}{rest}", if scheme == "https" { 443 } else { 80 }),
    })
}

/// Forms hold numbers.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Form").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Twilio's own library for Python, twilio 9.13.0: `RequestValidator(token).compute_signature(url, params)`.
    const TOKEN: &str = "12345";

    fn form() -> Form {
        Form::read(b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212")
            .unwrap()
    }

    #[test]
    fn what_the_providers_library_signs_is_signed() {
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
        assert!(form().is_signed(TOKEN, url, signature));
        assert_eq!(form().sign(TOKEN, url), signature);
        // The port is the scheme's own.
        assert!(form().is_signed(TOKEN, "https://mycompany.com:443/myapp.php?foo=1&bar=2", signature));
        for (token, url, signature) in [
            ("12346", url, signature),
            (TOKEN, "https://mycompany.com/myapp.php?foo=1&bar=3", signature),
            (TOKEN, url, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            (TOKEN, url, ""),
            (TOKEN, url, "no base64!"),
        ] {
            assert!(!form().is_signed(token, url, signature), "{token} {url} {signature}");
        }
        let more = Form::read(b"CallSid=CA1234567890ABCDE").unwrap();
        assert!(!more.is_signed(TOKEN, url, signature));
    }

    #[test]
    fn what_stands_more_than_once_is_signed_once_and_in_order() {
        let form = Form::read("b=2&a=ü&b=1&b=2&c=".as_bytes()).unwrap();
        assert_eq!(form.signed("u"), "uaüb1b2c");
        assert_eq!(form.sign(TOKEN, "https://example.org:8443/x"), "jTy9XsT8y0rIY9TuyQvPmF4hw9w=");
    }

    #[test]
    fn ports_come_and_go() {
        let other = |url| other_port(url).unwrap();
        assert_eq!(other("https://a/b:c"), "https://a:443/b:c");
        assert_eq!(other("http://a"), "http://a:80");
        assert_eq!(other("http://[::1]:8080?x"), "http://[::1]?x");
        assert_eq!(other("http://[::1]/"), "http://[::1]:80/");
        assert_eq!(other_port("a/b"), None);
    }

    #[test]
    fn a_report_is_read() {
        let read = |body: &str| Form::read(body.as_bytes()).and_then(|form| form.report());
        let report =
            |status: &str, error_code| Report { sid: "SM1".into(), status: status.into(), error_code };
        assert_eq!(read("MessageSid=SM1&MessageStatus=sent&To=%2B7"), Ok(report("sent", None)));
        assert_eq!(
            read("MessageSid=SM1&MessageStatus=failed&ErrorCode=30006"),
            Ok(report("failed", Some(30_006)))
        );
        assert_eq!(read("MessageSid=SM1"), Err(BadForm::Missing("MessageStatus")));
        assert_eq!(read("MessageSid=&MessageStatus=sent"), Err(BadForm::Missing("MessageSid")));
        assert_eq!(read(&"a=1&".repeat(257)), Err(BadForm::Long));
        assert_eq!(read(&"a".repeat((64 << 10) + 1)), Err(BadForm::Long));
    }
}
