//! Decisions as plain functions of their arguments: no I/O, no clock, no randomness but what is handed in.

/// A type that stands in JSON as the text it is parsed from.
macro_rules! string_form {
    ($type:ty, $error:ty) => {
        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<$type, $error> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(it: $type) -> String {
                it.to_string()
            }
        }
    };
}

pub mod address;
pub mod breaker;
pub mod classes;
pub mod condition;
pub mod failover;
pub mod likeness;
pub mod opt_out;
pub mod pace;
pub mod path;
pub mod preferences;
pub mod quiet;
pub mod replay;
pub mod retry;
pub mod rules;
pub mod schema;
pub mod sms_text;
pub mod state;
pub mod suppression;
pub mod templates;
