//! Whether a `Host` header names this machine.

use crate::http::is_loopback;
use http::uri::Authority;

/// `hosts` are further names. Ports do not matter: they may have been mapped.
pub(super) fn fits_host(header: &str, hosts: &[String]) -> bool {
    let Ok(authority) = header.parse::<Authority>() else { return false };
    let host = authority.host();
    !header.contains('@') && (is_loopback(host) || hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_names_fit() {
        let hosts = ["artel.internal".to_owned()];
        for good in ["localhost", "LOCALHOST:80", "127.0.0.1:8025", "[::1]:80", "artel.internal:1"] {
            assert!(fits_host(good, &hosts), "{good}");
        }
        for bad in
            ["", "evil.example", "localhost.evil.example", "a@localhost", "127.0.0.1.nip.io", "10.0.0.1"]
        {
            assert!(!fits_host(bad, &hosts), "{bad}");
        }
    }
}
