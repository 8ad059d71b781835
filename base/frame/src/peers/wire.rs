//! What both sides of a request from node to node agree on.

/// Says what an answer is; one without it comes from something that is no node.
pub(super) const ANSWER: &str = "artel-answer";
/// The handler's reply.
pub(super) const REPLY: &str = "reply";
/// The handler's, or the mediator's, fault.
pub(super) const FAULT: &str = "fault";
/// Nothing was run: the token, the bounds, the route.
pub(super) const REFUSED: &str = "refused";

/// The routes of the listener.
pub(super) const COMMAND: &str = "/peers/command/";
pub(super) const QUERY: &str = "/peers/query/";
/// What the node says of itself, for `artel status`.
pub(super) const VIEW: &str = "/peers/view";
