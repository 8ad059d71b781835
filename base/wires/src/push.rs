//! What both kinds of push have in common.

/// A push message that is not sent, because nobody would take it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPush {
    /// `field` is the largest part of it.
    #[error("{field}: the message has {bytes} bytes; {most} are the most")]
    TooBig { field: String, bytes: usize, most: usize },
    #[error("{field}: {reason}")]
    Field { field: String, reason: String },
}

impl BadPush {
    pub(crate) fn field(field: impl Into<String>, reason: impl Into<String>) -> BadPush {
        BadPush::Field { field: field.into(), reason: reason.into() }
    }
}
