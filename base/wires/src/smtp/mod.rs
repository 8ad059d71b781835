//! Mail to a server by SMTP (RFC 5321): kept connections, many mails over each, with PIPELINING (RFC 2920), SIZE (RFC 1870),
//! 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), STARTTLS (RFC 3207) or TLS, AUTH (RFC 4954), and enhanced status codes (RFC 2034).
//!
//! ```text
//! let client = Client::new(Settings::to("mail.example.org"))?;
//! let mail = Mail::new(Envelope { from, to }, &letter.write(&limits, &[dkim])?)?;
//! let handed = client.send(&mail).await;
//! ```

mod address;
mod connection;
mod pool;
mod reply;
mod settings;
mod transaction;
mod wire;

pub use address::{Address, BadAddress, Envelope};
pub use pool::Client;
pub use settings::{BadSettings, Limits, Login, Secret, Security, Settings};
pub use wire::{BadMail, LONGEST_LINE, Mail};
