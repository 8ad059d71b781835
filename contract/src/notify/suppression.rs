//! Addresses that nothing is sent to.

use super::name;
use super::page_size;
use super::subscribers::{AddressKind, Changed};
use artel_message::{Command, Fault, Page, Query, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why an address is not written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    HardBounce,
    SoftBounces,
    Complaint,
    Unsubscribed,
    StopListed,
    BadNumber,
    NotMobile,
    TokenGone,
    TokenMalformed,
    TokenForeign,
    ByHand,
}

/// An address on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suppressed {
    /// What names the entry: a hash of the address.
    pub id: String,
    pub kind: AddressKind,
    /// Masked, such as `i***@example.com`; absent where its owner has been forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub reason: SuppressionReason,
    /// Who put it there: a provider, or a caller.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub since: Time,
    /// Absent = until it is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// Puts an address on the list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.suppress", reply = Changed, validate = check_suppress)]
#[serde(deny_unknown_fields)]
pub struct Suppress {
    pub kind: AddressKind,
    pub address: String,
    pub reason: SuppressionReason,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Takes an address off the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.unsuppress", reply = Changed)]
#[serde(deny_unknown_fields)]
pub struct Unsuppress {
    /// [`Suppressed::id`]
    pub id: String,
    pub by: String,
}

/// Without the address: it gets into logs.
impl std::fmt::Debug for Suppress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Suppress({:?}, {:?}, by {})", self.kind, self.reason, self.by)
    }
}

fn check_suppress(command: &Suppress) -> Result<(), Fault> {
    name("by", &command.by)?;
    match &command.note {
        Some(note) => name("note", note),
        None => Ok(()),
    }
}

/// The list, the latest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-suppressed", reply = Page<Suppressed>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListSuppressed {
    /// Only this address.
    #[serde(default)]
    pub address: Option<String>,
    #[serde(default)]
    pub reason: Option<SuppressionReason>,
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListSuppressed) -> Result<(), Fault> {
    page_size(query.limit)
}
