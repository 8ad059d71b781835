//! Replies kept for repeats: a command with a key runs once per caller, and gives its first reply again.

use artel_message::Time;
use artel_store::{StoreError, Write};
use bytes::Bytes;

/// What identifies an asked command.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub caller: String,
    pub command: &'static str,
    pub key: String,
    /// SHA-256 over the name and the canonical JSON (RFC 8785).
    pub hash: [u8; 32],
}

/// A reply that is kept.
pub(crate) struct Kept {
    pub hash: Bytes,
    pub ok: bool,
    pub reply: Bytes,
}

pub(crate) async fn find(write: &mut Write, asking: &Asking) -> Result<Option<Kept>, StoreError> {
    let row: Option<(Bytes, bool, Bytes)> = write
        .opt(
            "SELECT hash, ok, reply FROM flow_answered WHERE caller = $1 AND command = $2 AND key = $3",
            (asking.caller.as_str(), asking.command, asking.key.as_str()),
        )
        .await?;
    Ok(row.map(|(hash, ok, reply)| Kept { hash, ok, reply }))
}

/// Keeps a reply; false when another one stands there already.
pub(crate) async fn keep(
    write: &mut Write,
    asking: &Asking,
    ok: bool,
    reply: &Bytes,
    until: Time,
) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "INSERT INTO flow_answered (caller, command, key, hash, ok, reply, until)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            (
                asking.caller.as_str(),
                asking.command,
                asking.key.as_str(),
                asking.hash.as_slice(),
                ok,
                reply.clone(),
                until,
            ),
        )
        .await?;
    Ok(rows == 1)
}

/// Puts a reply in the place of what is kept for a command, if anything: it was given up, and has succeeded now.
pub(crate) async fn replace(
    write: &mut Write,
    caller: &str,
    command: &str,
    key: &str,
    reply: &Bytes,
) -> Result<(), StoreError> {
    write
        .exec(
            "UPDATE flow_answered SET ok = TRUE, reply = $1 WHERE caller = $2 AND command = $3 AND key = $4",
            (reply.clone(), caller, command, key),
        )
        .await?;
    Ok(())
}

/// Deletes replies whose time is over, at most `limit` at once.
pub(crate) async fn purge(write: &mut Write, now: Time, limit: i64) -> Result<u64, StoreError> {
    write
        .exec(
            "DELETE FROM flow_answered WHERE (caller, command, key) IN
             (SELECT caller, command, key FROM flow_answered WHERE until < $1 ORDER BY until LIMIT $2)",
            (now, limit),
        )
        .await
}
