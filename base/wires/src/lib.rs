//! Providers of mail, SMS and push: clients of their protocols ([`smtp`], [`smpp`], [`twilio`], [`fcm`], [`web_push`]), and
//! simulators of their other side ([`simulators`]), which anybody can try the whole with.
//!
//! A client carries one message over and says what was answered ([`Handed`]). It decides nothing: what an answer means, whether
//! and when a message is tried again, how fast an account may go, is its caller's business. It keeps connections, has a time limit
//! on everything it waits for, and says of each failure whether the other side may have taken the message ([`Stage`]).

pub mod fcm;
pub mod http;
mod jwt;
mod link;
pub mod mail;
mod push;
pub mod said;
pub mod simulators;
pub mod smpp;
pub mod smtp;
mod tls;
pub mod twilio;
pub mod web_push;

pub use push::BadPush;
pub use said::{Handed, Said, Stage, Step};
