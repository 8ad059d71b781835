//! What the other side said, in its own words.

use bytes::Bytes;
use std::time::Duration;

/// What came of handing one message over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    pub said: Said,
    /// What the provider calls the message from now on: receipts and questions name it so.
    pub reference: Option<String>,
    /// Of a message in several parts that all were taken, what each is called, in order; `reference` is the first one's.
    pub parts: Vec<String>,
    /// The account (host and user, or the account's id) as it may stand in logs; nothing secret.
    pub by: String,
}

impl Handed {
    /// Nothing was written: it can't be sent as it is. `by` as of [`Handed::by`].
    pub fn unfit(by: impl Into<String>, reason: impl Into<String>) -> Handed {
        let said = Said::Unfit { reason: reason.into() };
        Handed { said, reference: None, parts: Vec::new(), by: by.into() }
    }
}

/// An answer, or that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// RFC 5321, section 4.2; `enhanced` is the code of RFC 3463 where one was given. The text may hold addresses: it is not for logs.
    Smtp { step: Step, code: u16, enhanced: Option<String>, text: String },
    /// `retry_after` is the header's, as seconds or as a date; the body is cut at [`MOST_BODY`]; `host` is whom we asked.
    Http { status: u16, retry_after: Option<Duration>, body: Bytes, host: String },
    /// The `command_status` of a response (SMPP 3.4, section 5.1.3).
    Smpp { status: u32 },
    /// It can't be sent as it is, which was found out before anything was written. The reason names the field, and holds nothing
    /// personal.
    Unfit { reason: String },
    /// All of our own connections to it, or the places on them, were in use for as long as one was waited for. Nothing was written, and
    /// the other side has no part in it.
    Busy { text: String },
    /// No answer: the connection failed, or the time was over. The text is ours and holds nothing personal.
    Broken { stage: Stage, text: String },
}

/// What of a mail an answer of SMTP is to. A server answers differently about who sends and about who is to get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The connection, the login, or what ends the mail before: no word of this one.
    Connection,
    /// MAIL FROM: who sends, and how large it is.
    From,
    /// RCPT TO.
    To,
    /// DATA, and the mail itself.
    Data,
}

/// How far a request was when the connection failed or the time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing that the provider could act on was written: no connection, or a failure before the last byte (before SMTP's final
    /// dot, before the whole HTTP request, before the PDU).
    Before,
    /// All was written and nothing was heard.
    After,
}

/// Bytes of an answer's body that are kept.
pub const MOST_BODY: usize = 16 << 10;
