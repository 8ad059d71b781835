//! The mail itself: headers, text and HTML, attachments (RFC 5322, RFC 2045 to 2049), and its signature (DKIM, RFC 6376).
//!
//! What is written has lines of CRLF that no server has to change, and is the same for the same [`Letter`]: a repeat is the same
//! mail, byte for byte, under the same Message-ID.

mod canonical;
mod checks;
mod dkim;
mod write;

pub use checks::BadLetter;
pub use dkim::{BadKey, Dkim};

use bytes::Bytes;

/// A mail to write. Texts may have any letters; what is not ASCII is encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    pub from: Mailbox,
    pub to: Mailbox,
    pub reply_to: Option<Mailbox>,
    pub subject: String,
    /// At least one of text and HTML; of both, the reader's program chooses.
    pub text: Option<String>,
    pub html: Option<String>,
    /// Pictures that the HTML shows (RFC 2392): `<img src="cid:…">`.
    pub pictures: Vec<Picture>,
    pub attachments: Vec<Attachment>,
    /// `something@domain`, without brackets; the same at each repeat, so that readers' programs can know it again.
    pub message_id: String,
    /// Seconds since 1970, UTC; the same at each repeat.
    pub date: i64,
    pub unsubscribe: Option<Unsubscribe>,
    /// More headers, such as `List-Id` or `Auto-Submitted`. Those that are written here anyway are refused.
    pub headers: Vec<(String, String)>,
}

/// Somebody, as a header names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// May be empty.
    pub name: String,
    pub address: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    /// Such as `application/pdf`.
    pub kind: String,
    /// Clones share them: one file may go to many.
    pub bytes: Bytes,
}

impl Attachment {
    /// Whether a mail can have a file of this name; why not.
    pub fn check_name(name: &str) -> Result<(), String> {
        checks::file_name(name)
    }

    /// Whether a file can be of this type; why not.
    pub fn check_kind(kind: &str) -> Result<(), String> {
        checks::media_type(kind)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What the HTML calls it, of the form of a Message-ID or a plain word.
    pub id: String,
    /// Such as `image/png`.
    pub kind: String,
    pub bytes: Vec<u8>,
}

/// How to be left alone with one click (RFC 8058): readers' programs send a POST there. The signature covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// https; identifies the recipient and the list by itself.
    pub url: String,
    /// An address that takes the same wish by mail.
    pub address: Option<String>,
}

/// How large parts may be, in bytes as they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    pub subject: usize,
    /// Of text and HTML, each.
    pub body: usize,
    /// Attachments and pictures together.
    pub attached: usize,
    /// How many of them.
    pub attachments: usize,
    /// Headers of the caller's own, and bytes in each.
    pub headers: usize,
    pub header: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            subject: 1_000,
            body: 1 << 20,
            attached: 10 << 20,
            attachments: 20,
            headers: 30,
            header: 2_000,
        }
    }
}

impl Letter {
    /// Headers, an empty line, the body; signatures of each key stand above. Fails on what can't be written so, or is larger than
    /// `bounds`, and names the field.
    pub fn write(&self, bounds: &Bounds, keys: &[Dkim]) -> Result<Vec<u8>, BadLetter> {
        checks::check(self, bounds)?;
        let content = write::write(self);
        checks::lines(&content)?;
        if keys.is_empty() {
            return Ok(content);
        }
        let mut signed = Vec::with_capacity(content.len() + keys.len() * 1_024);
        for key in keys {
            let signature = key.sign(&content, self.date);
            signed.extend_from_slice(
                signature.ok_or_else(|| BadLetter::new("keys", "a key that can't sign"))?.as_bytes(),
            );
        }
        signed.extend_from_slice(&content);
        Ok(signed)
    }
}
