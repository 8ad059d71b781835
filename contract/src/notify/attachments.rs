//! Files that go with a notification. Mail carries them; other channels go without, which the answer says.

use super::bounds;
use artel_message::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A file as it is given. Its content stands in one of the fields for it; so far there is one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// What the reader's program calls it, without folders.
    pub name: String,
    /// Such as `application/pdf`, without parameters.
    pub media_type: String,
    /// The content itself (RFC 4648, section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// Without the content: it is somebody's.
impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attachment({}, {} bytes)", self.media_type, self.size())
    }
}

impl Attachment {
    /// Bytes that its content has when it is decoded; where the text is no base64, about so many.
    pub fn size(&self) -> usize {
        let text = self.base64.as_deref().unwrap_or_default();
        let padding = text.bytes().rev().take(2).take_while(|byte| *byte == b'=').count();
        (text.len() / 4 * 3).saturating_sub(padding)
    }
}

/// A file that goes with a delivery, as it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attached {
    pub name: String,
    pub media_type: String,
    pub bytes: u64,
}

/// How many and how large; names, types and the text of the content are looked at by the service.
pub(super) fn check(all: &[Attachment]) -> Result<(), Fault> {
    let (count, most) = (all.len(), bounds::ATTACHMENTS);
    if count > most {
        return Err(Fault::field("content.attachments", format!("there are {count}; {most} are the most")));
    }
    for (at, one) in all.iter().enumerate() {
        let field = format!("content.attachments[{at}].base64");
        if one.base64.is_none() {
            return Err(Fault::field(&field, "is not there; give the content in it"));
        }
        let (bytes, most) = (one.size(), bounds::ATTACHMENT);
        if bytes > most {
            return Err(Fault::field(&field, format!("is {bytes} bytes; {most} are the most")));
        }
    }
    let (bytes, most) = (all.iter().map(Attachment::size).sum::<usize>(), bounds::ATTACHED);
    match bytes > most {
        true => Err(Fault::field("content.attachments", format!("are {bytes} bytes; {most} are the most"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: usize) -> Attachment {
        let base64 = Some("AAAA".repeat(bytes.div_ceil(3)));
        Attachment { name: "a.bin".to_owned(), media_type: "application/octet-stream".to_owned(), base64 }
    }

    #[test]
    fn number_and_size_have_bounds_that_are_named() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&vec![of(9); bounds::ATTACHMENTS]), Ok(()));
        let empty = Attachment { base64: None, ..of(0) };
        for (all, reason) in [
            (vec![of(1); bounds::ATTACHMENTS + 1], "content.attachments: there are 11; 10 are the most"),
            (vec![of(1), empty], "content.attachments[1].base64: is not there"),
            (vec![of(bounds::ATTACHMENT + 3)], "content.attachments[0].base64: is 5242"),
            (vec![of(4 << 20); 3], "content.attachments: are 125829"),
        ] {
            let fault = check(&all).unwrap_err();
            assert!(fault.reason.starts_with(reason), "{fault}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_content_and_the_content_is_not_shown() {
        for (text, size) in [("", 0), ("QQ==", 1), ("QUI=", 2), ("QUJD", 3), ("QUJDRA==", 4)] {
            let one = Attachment { base64: Some(text.to_owned()), ..of(0) };
            assert_eq!(one.size(), size, "{text}");
            assert_eq!(format!("{one:?}"), format!("Attachment(application/octet-stream, {size} bytes)"));
        }
    }
}
