//! The table of services: one line each.

use artel_flow::Service;

/// Every service of this binary; `node.roles` says which of them run.
pub fn all() -> Vec<Service> {
    vec![artel_bridge::service(), artel_notify::service()]
}
