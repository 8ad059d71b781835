//! Addresses for nodes that keep theirs over a restart.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

/// Below the ports that systems give to outgoing connections, which could take one while its node is down; beside those of
/// `cargo xtask backends`.
const PORTS: Range<u16> = 10_000..20_000;

/// One that was free a moment ago; where it begins to look is chance.
pub fn free() -> SocketAddr {
    let random = RandomState::new().hash_one(std::process::id());
    let begin = PORTS.start + u16::try_from(random % PORTS.len() as u64).unwrap();
    let mut ports = (begin..PORTS.end).chain(PORTS.start..begin);
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = ports.find(|port| TcpListener::bind(address(*port)).is_ok());
    address(free.expect("a free port"))
}
