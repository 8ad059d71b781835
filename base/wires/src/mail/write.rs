//! A checked letter as bytes.

use super::{Attachment, Letter, Mailbox, Picture};
use crate::smtp::Address as Checked;
use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::headers::url::URL;
use mail_builder::mime::{BodyPart, MimePart};
use ring::digest::{Context, SHA256};
use std::fmt::Write as _;

pub(super) fn write(letter: &Letter) -> Vec<u8> {
    let mut message = MessageBuilder::new()
        .from(address(&letter.from))
        .to(address(&letter.to))
        .subject(letter.subject.as_str())
        .message_id(letter.message_id.as_str())
        .date(letter.date);
    if let Some(reply_to) = &letter.reply_to {
        message = message.reply_to(address(reply_to));
    }
    if let Some(unsubscribe) = &letter.unsubscribe {
        let mail = unsubscribe.address.as_ref().map(|address| format!("mailto:{address}"));
        let urls = std::iter::once(unsubscribe.url.clone()).chain(mail);
        message = message
            .header("List-Unsubscribe", URL::new_list(urls))
            .header("List-Unsubscribe-Post", Raw::new("List-Unsubscribe=One-Click"));
    }
    for (name, value) in &letter.headers {
        // As it is where that is possible: programs read these.
        let value: HeaderType<'_> =
            if value.is_ascii() { Raw::new(value.as_str()).into() } else { Text::new(value.as_str()).into() };
        message = message.header(name.as_str(), value);
    }
    let mut content = Vec::new();
    message.body(body(letter)).serialize(&mut content);
    content
}

/// The domain in ASCII, as all can read it.
fn address(mailbox: &Mailbox) -> Address<'_> {
    let checked =
        Checked::parse(&mailbox.address).map_or_else(|_| mailbox.address.clone(), |good| good.to_string());
    Address::new_address((!mailbox.name.is_empty()).then_some(mailbox.name.as_str()), checked)
}

/// Mixed, of what is read and what is attached; related, of HTML and its pictures; alternative, of text and HTML (RFC 2046,
/// section 5.1; RFC 2387). Each only where there is more than one.
fn body(letter: &Letter) -> MimePart<'_> {
    let boundaries = Boundaries::of(letter);
    let text = letter.text.as_deref().map(|text| MimePart::new("text/plain", text));
    let html = letter.html.as_deref().map(|html| {
        let html = MimePart::new("text/html", html);
        let pictures = letter.pictures.iter().map(picture);
        boundaries.together("multipart/related", std::iter::once(html).chain(pictures).collect())
    });
    let read = boundaries.together("multipart/alternative", text.into_iter().chain(html).collect());
    let attachments = letter.attachments.iter().map(attachment);
    boundaries.together("multipart/mixed", std::iter::once(read).chain(attachments).collect())
}

fn picture(picture: &Picture) -> MimePart<'_> {
    MimePart::new(picture.kind.as_str(), picture.bytes.as_slice()).inline().cid(picture.id.as_str())
}

fn attachment(attachment: &Attachment) -> MimePart<'_> {
    let name = attachment.name.as_str();
    MimePart::new(attachment.kind.as_str(), attachment.bytes.as_ref()).attachment(name)
}

/// What stands between parts: the same for the same letter, and nothing that somebody who writes a part of it could foresee.
struct Boundaries(String);

impl Boundaries {
    fn of(letter: &Letter) -> Boundaries {
        let mut context = Context::new(&SHA256);
        let bodies = [Some(&letter.message_id), letter.text.as_ref(), letter.html.as_ref()];
        for text in bodies.into_iter().flatten() {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        letter.attachments.iter().for_each(|attachment| context.update(&attachment.bytes));
        let mut name = String::with_capacity(40);
        for byte in &context.finish().as_ref()[..16] {
            let _ = write!(name, "{byte:02x}");
        }
        Boundaries(name)
    }

    fn together<'x>(&self, kind: &'static str, mut parts: Vec<MimePart<'x>>) -> MimePart<'x> {
        if parts.len() == 1
            && let Some(alone) = parts.pop()
        {
            return alone;
        }
        let end = kind.rsplit('/').next().unwrap_or_default();
        // "=_" stands in no part that is encoded (RFC 2045, section 6.7).
        let boundary = format!("=_{}_{end}", self.0);
        MimePart::new(ContentType::new(kind).attribute("boundary", boundary), BodyPart::Multipart(parts))
    }
}
