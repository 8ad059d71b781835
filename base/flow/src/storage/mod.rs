//! Every SQL text of the flow. One function per operation, each with its texts beside it.

pub(crate) mod answered;
pub(crate) mod audit;
pub(crate) mod claims;
pub(crate) mod counts;
pub(crate) mod dead;
pub(crate) mod effects;
pub(crate) mod forgotten;
mod given;
pub(crate) mod groups;
pub(crate) mod held;
pub(crate) mod leases;
pub(crate) mod letters;
pub(crate) mod mended;
pub(crate) mod moves;
pub(crate) mod numbers;
pub(crate) mod offsets;
pub(crate) mod outbox;
pub(crate) mod parked;
pub(crate) mod projections;
pub(crate) mod schedules;
pub(crate) mod timers;
pub(crate) mod why;

use artel_store::{Migrations, migrations};

/// The flow's own tables; applied to every service's database before the service's.
pub fn tables() -> Migrations {
    migrations!(
        "flow",
        "0001_flow.sql",
        "0002_nodes.sql",
        "0003_unsure.sql",
        "0004_parked.sql",
        "0005_time.sql",
        "0006_parked.sql",
        "0007_later.sql",
        "0008_projections.sql",
        "0009_effects.sql",
        "0010_claims.sql"
    )
}
