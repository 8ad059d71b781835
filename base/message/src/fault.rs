//! `Fault`: the one error that crosses a service's border, the same in process and over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The closed set of causes a caller can act on. The HTTP edge maps each to one status, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request can never succeed as it stands.
    Invalid,
    /// Who asks is not known.
    Unauthenticated,
    /// Who asks is known and may not.
    Forbidden,
    /// What is asked for does not exist (yet).
    NotFound,
    /// It contradicts the present state, or an earlier request with the same idempotency key.
    Conflict,
    /// A bound is reached: rate, size of a queue, space on disk.
    Exhausted,
    /// What is needed to answer cannot be reached now.
    Unavailable,
    /// It took longer than its limit.
    Timeout,
    /// A mistake of ours.
    Internal,
}

impl Code {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Invalid => "invalid",
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::Exhausted => "exhausted",
            Code::Unavailable => "unavailable",
            Code::Timeout => "timeout",
            Code::Internal => "internal",
        }
    }

    /// True where trying the same message again cannot help (flow: class "never").
    pub fn is_final(self) -> bool {
        matches!(self, Code::Invalid | Code::Unauthenticated | Code::Forbidden)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a command, query or message was refused: a code, a sentence for a person, and what a program may need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    pub code: Code,
    /// One lowercase sentence that names the field and says what to do; never a secret.
    pub reason: String,
    /// Machine-readable addition, such as `{"field": "topic"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<serde_json::Value>>,
}

impl Fault {
    pub fn new(code: Code, reason: impl Into<String>) -> Fault {
        Fault { code, reason: reason.into(), detail: None }
    }

    pub fn with(mut self, detail: serde_json::Value) -> Fault {
        self.detail = Some(Box::new(detail));
        self
    }

    /// `invalid`, naming the field.
    pub fn field(field: &str, reason: impl fmt::Display) -> Fault {
        Fault::invalid(format!("{field}: {reason}")).with(serde_json::json!({ "field": field }))
    }

    pub fn invalid(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Invalid, reason)
    }
    pub fn unauthenticated(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Unauthenticated, reason)
    }
    pub fn forbidden(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Forbidden, reason)
    }
    pub fn not_found(reason: impl Into<String>) -> Fault {
        Fault::new(Code::NotFound, reason)
    }
    pub fn conflict(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Conflict, reason)
    }
    pub fn exhausted(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Exhausted, reason)
    }
    pub fn unavailable(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Unavailable, reason)
    }
    pub fn timeout(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Timeout, reason)
    }
    pub fn internal(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Internal, reason)
    }

    /// `exhausted` for want of room on a disk; the edge answers 507 instead of 429.
    pub fn storage_full(reason: impl Into<String>) -> Fault {
        Fault::new(Code::Exhausted, reason).with(serde_json::json!({ "kind": "storage" }))
    }

    /// Whether this is [`Fault::storage_full`].
    pub fn is_storage_full(&self) -> bool {
        self.code == Code::Exhausted
            && self.detail.as_ref().and_then(|d| d.get("kind")).and_then(|k| k.as_str()) == Some("storage")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CODES: [(Code, &str, bool); 9] = [
        (Code::Invalid, "invalid", true),
        (Code::Unauthenticated, "unauthenticated", true),
        (Code::Forbidden, "forbidden", true),
        (Code::NotFound, "not_found", false),
        (Code::Conflict, "conflict", false),
        (Code::Exhausted, "exhausted", false),
        (Code::Unavailable, "unavailable", false),
        (Code::Timeout, "timeout", false),
        (Code::Internal, "internal", false),
    ];

    /// Faults are stored (answers, dead letters) and cross versions: these texts never change.
    #[test]
    fn a_fault_reads_the_same_for_ever() {
        let plain = Fault::not_found("no such message");
        assert_eq!(
            serde_json::to_string(&plain).unwrap(),
            r#"{"code":"not_found","reason":"no such message"}"#
        );
        let field = Fault::field("topic", "is empty");
        assert_eq!(
            serde_json::to_string(&field).unwrap(),
            r#"{"code":"invalid","reason":"topic: is empty","detail":{"field":"topic"}}"#
        );
        let later = json!({ "code": "timeout", "reason": "slow", "a field of a later version": 1 });
        assert_eq!(serde_json::from_value::<Fault>(later).unwrap(), Fault::timeout("slow"));
    }

    #[test]
    fn codes_have_one_name_each_and_three_are_final() {
        for (code, name, is_final) in CODES {
            assert_eq!((code.as_str(), code.is_final()), (name, is_final));
            assert_eq!(serde_json::to_value(code).unwrap(), name);
            assert_eq!(serde_json::from_value::<Code>(json!(name)).unwrap(), code);
        }
        assert!(serde_json::from_value::<Code>(json!("Invalid")).is_err());
    }

    #[test]
    fn a_full_disk_is_told_from_other_bounds() {
        assert!(Fault::storage_full("no room").is_storage_full());
        assert!(!Fault::exhausted("too many").is_storage_full());
        let other = Fault::unavailable("x").with(json!({ "kind": "storage" }));
        assert!(!other.is_storage_full());
        let again: Fault =
            serde_json::from_value(serde_json::to_value(Fault::storage_full("x")).unwrap()).unwrap();
        assert!(again.is_storage_full());
    }
}
