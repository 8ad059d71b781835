//! Groups that have something parked, and whether anybody still wants it: a node of another release may.

use super::kind_of;
use crate::ctx::Shared;
use crate::projections::{Phase, group_of};
use crate::storage::groups::Stored as Made;
use crate::storage::projections::Stored as Version;

/// Why a group is somebody's: it runs here, is a version of a projection that was not removed, or a living node has its handlers.
/// None = nobody tries its keys.
pub(crate) fn whose(shared: &Shared, made: &[Made], versions: &[Version], grp: &str) -> Option<String> {
    if kind_of(shared, made, grp).is_some() {
        return Some("runs".to_owned());
    }
    let is = |v: &&Version| shared.service.group_name(&group_of(&v.name, v.version)) == grp;
    if let Some(version) = versions.iter().find(is).filter(|v| v.phase != Phase::Retired) {
        return Some(format!(
            "is version {} of projection '{}', which is {} and not known to this node's program (artel groups retire removes a \
             version with all that waits)",
            version.version,
            version.name,
            version.phase.word()
        ));
    }
    let nodes = shared.members.living_with(shared.name(), grp).len();
    (nodes > 0).then(|| format!("runs on {nodes} nodes of another release"))
}
