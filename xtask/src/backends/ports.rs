//! Ports for servers. They lie below the range that systems hand out to outgoing connections: there a server's port may be
//! taken by a client that connects, even by one that waits for this very server.

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::ops::Range;

const RANGE: Range<u16> = 20_000..32_000;

/// The first free port from `start` on that nobody has put down as his.
pub fn free(start: u16, taken: &BTreeSet<u16>) -> Result<u16> {
    let from = if RANGE.contains(&start) { start } else { RANGE.start };
    for port in (from..RANGE.end).chain(RANGE.start..from) {
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {} and {} on 127.0.0.1", RANGE.start, RANGE.end)
}

/// Somewhere to begin, another place for each process and moment: other folders' instances are not known here.
pub fn start() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id());
    RANGE.start + u16::try_from(random % 12_000).unwrap_or_default()
}
