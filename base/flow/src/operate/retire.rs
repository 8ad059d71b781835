//! Projections by hand: versions that are removed.

use super::{By, Step, begin, conflict, note, reason_given};
use crate::Failure;
use crate::projections::{self, Phase, Projections};
use crate::storage::{offsets, projections as stored};
use artel_message::Fault;

impl Projections {
    /// Removes a version that is not read from any more: its group, its places, what of it waits or was given up. Its tables are the
    /// service's to drop. Needs a reason; a dry run (`by` is none) only says whether it may be.
    pub async fn retire(&self, name: &str, version: u32, by: Option<&By>) -> Result<(), Fault> {
        self.retire_it(name, version, by).await.map_err(Failure::into_fault)
    }

    async fn retire_it(&self, name: &str, version: u32, by: Option<&By>) -> Result<(), Failure> {
        let shared = &self.shared;
        let mut read = shared.db.read().await?;
        let versions = stored::of_name(&mut read, name).await?;
        let Some(found) = versions.iter().find(|v| v.version == version) else {
            let known: Vec<String> = versions.iter().map(|v| v.version.to_string()).collect();
            return Err(Failure::Refused(Fault::not_found(format!(
                "service '{}' has no version {version} of a projection '{name}'; there is: {}",
                shared.name(),
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ))));
        };
        let group = shared.service.group_name(&projections::group_of(name, version));
        let topics: Vec<String> =
            offsets::of_group(&mut read, &group).await?.into_iter().map(|place| place.topic).collect();
        drop(read);
        match found.phase {
            Phase::Retired => return Ok(()),
            Phase::Serving => {
                return Err(conflict(format!(
                    "version {version} of '{name}' is read from: it can go when a later one serves (artel groups says which)"
                )));
            }
            Phase::Building | Phase::Replaced => {}
        }
        let readers = projections::readers_of(shared, &versions, name, version);
        if !readers.is_empty() {
            let n = readers.len();
            return Err(conflict(match found.phase {
                Phase::Building => format!(
                    "{n} living nodes read from version {version} of '{name}', since they know none that has served; replace their \
                     program first"
                ),
                _ => format!(
                    "{n} living nodes know no later version than {version} of '{name}' and read from it; replace their program first"
                ),
            }));
        }
        let Some(by) = by else { return Ok(()) };
        reason_given(by).map_err(Failure::Refused)?;
        let gone = shared.rerun(|| async {
            let mut tx = begin(shared).await?;
            let now = tx.now();
            let done = async {
                let retired = projections::retire(tx.write(), &group, found, now).await?;
                if retired {
                    let (target, detail) = (group.clone(), format!("was {}", found.phase.word()));
                    note(&mut tx, Step { action: "retire", target, detail, by }).await?;
                }
                Ok::<_, Failure>(retired)
            };
            match done.await {
                Ok(retired) => tx.commit().await.map(|()| retired),
                Err(failure) => {
                    tx.rollback().await;
                    Err(failure)
                }
            }
        });
        if !gone.await? {
            return Err(conflict(format!("version {version} of '{name}' has changed meanwhile; look again")));
        }
        shared.places_moved();
        for topic in topics {
            if let Err(error) = shared.topics.bus().forget(&group, &topic).await {
                tracing::warn!(group, topic, %error, "the log was not told that the group is gone; the next start tells it");
            }
        }
        Ok(())
    }
}
