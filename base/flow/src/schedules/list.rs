//! Schedules as operators see them.

use crate::storage::schedules;
use crate::wakes::SCHEDULES;
use crate::{Failure, Runtime};
use artel_message::{Fault, Time};
use artel_store::Lane;

/// A schedule of a service that runs here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scheduled {
    pub service: String,
    pub name: String,
    /// Its pattern, or its distance.
    pub when: String,
    /// The zone its pattern is read in; of a distance UTC.
    pub zone: String,
    pub next: Time,
    /// When it ran last; `None` = not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
    /// What becomes of runs that came due while nobody could run them: `once`, `skip`, or `all` and how many.
    pub rule: String,
    /// Runs that came due and never were, since there is this schedule.
    pub missed: i64,
}

impl Runtime {
    /// The schedules of the services that run here, by service and name.
    pub async fn schedules(&self) -> Result<Vec<Scheduled>, Fault> {
        let mut all = Vec::new();
        for shared in self.contexts().map(|ctx| &ctx.shared) {
            let rows = schedules::list(&mut shared.db.read().await?).await?;
            for schedule in &shared.service.schedules {
                // One that never runs has no row.
                let Some(row) = rows.iter().find(|row| row.name == schedule.name) else { continue };
                all.push(Scheduled {
                    service: shared.name().to_owned(),
                    name: row.name.clone(),
                    when: schedule.schedule.pattern(),
                    zone: schedule.schedule.zone_name().to_owned(),
                    next: row.next,
                    last: row.ran_at,
                    rule: schedule.schedule.missed.to_string(),
                    missed: row.missed,
                });
            }
        }
        all.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        Ok(all)
    }

    /// Makes a schedule due now, on whichever node keeps the schedules of its service. The next regular run stays where it is.
    pub async fn run_schedule(&self, service: &str, name: &str) -> Result<(), Fault> {
        let here = self.contexts().map(|ctx| &ctx.shared).find(|shared| shared.name() == service);
        let Some(shared) = here else {
            return Err(Fault::not_found(format!("service '{service}' does not run here")));
        };
        if !shared.service.schedules.iter().any(|schedule| schedule.name == name) {
            let known: Vec<&str> = shared.service.schedules.iter().map(|schedule| schedule.name).collect();
            return Err(Fault::not_found(format!(
                "service '{service}' has no schedule '{name}'; there is: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )));
        }
        let hasten = async {
            let mut write = shared.begin_own(Lane::Interactive).await?;
            schedules::hasten(&mut write, name, shared.now()).await?;
            write.commit().await.map_err(Failure::from)
        };
        hasten.await.map_err(Failure::into_fault)?;
        shared.wake.schedules.notify_one();
        shared.wake_others(SCHEDULES);
        shared.progressed();
        Ok(())
    }
}
