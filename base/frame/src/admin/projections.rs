//! Projections by hand: taken back, so that they are built anew, and removed.

use super::Admin;
use super::dead::by;
use super::start::Start;
use crate::edge::{Json, Needs, Operate, Problem, Routes};
use artel_flow::{Back, Projections, Rewind, Rewinding, RewoundPlace};
use artel_message::{Code, Fault};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const WORDS: &str = "write earliest, a time such as 2026-01-31T09:30:00Z, or a place such as shop.sale/3=1200 (topic/partition=offset)";

/// A version of a projection, and where it goes back to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    service: String,
    /// The group's name, with the service's or without.
    group: String,
    /// `earliest`, a time such as 2026-01-31T09:30:00Z, or a place such as shop.sale/3=1200.
    to: String,
    /// Only says what would be taken in again.
    #[serde(default)]
    dry_run: bool,
    /// Also where nothing takes away what was written (handlers run over it again), where retention has taken what does not come
    /// again, and where it can't be told which messages are repeats.
    #[serde(default)]
    force: bool,
    /// Why, for the record; has to be given where it is done.
    reason: Option<String>,
}

/// What is taken in again, or would be.
#[derive(Serialize, JsonSchema)]
struct Done {
    /// The group's full name.
    group: String,
    /// Offsets that are taken in again, of those that the log holds.
    messages: i64,
    places: Vec<PlaceRow>,
    /// What one should know about it.
    notes: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct PlaceRow {
    topic: String,
    partition: u32,
    /// Where it stood.
    from: i64,
    /// Where it goes on.
    to: i64,
}

/// A version of a projection that is not read from.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Gone {
    service: String,
    projection: String,
    version: u32,
    /// Only says whether it may go.
    #[serde(default)]
    dry_run: bool,
    /// Why, for the record; has to be given where it is done.
    reason: Option<String>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .post("/api/admin/groups/rewind", rewind, |op| {
            op.summary("Take a projection back, so that it takes in again")
                .description(
                    "In one transaction with the service's handler that takes away what was written. Groups that are no projections go \
                     forward only.",
                )
                .answers::<Done>(200, "what is taken in again, or would be")
                .refuses(&[Code::NotFound, Code::Invalid, Code::Conflict])
        })
        .post("/api/admin/groups/retire", retire, |op| {
            op.summary("Remove a version of a projection that is not read from")
                .description("Its group, its places, what of it waits or was given up. Its tables are the service's to drop.")
                .answers_empty(204, "it is gone, or may go")
                .refuses(&[Code::NotFound, Code::Invalid, Code::Conflict])
        })
}

fn projections(admin: &Admin, service: &str) -> Result<Projections, Fault> {
    let ctx = admin.0.runtime.ctx(service).ok_or_else(|| {
        let here = admin.0.facts.running(&admin.0.runtime).join(", ");
        Fault::not_found(format!("service '{service}' does not run on this node; here run: {here}"))
    })?;
    Ok(ctx.projections())
}

async fn rewind(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Done>, Problem> {
    let Wanted { service, group, to, dry_run, force, reason } = wanted;
    let rewind = Rewind { group, to: back(&to)?, force };
    let by = by(&caller, reason);
    let done = projections(&admin, &service)?.rewind(&rewind, (!dry_run).then_some(&by)).await?;
    let Rewinding { group, places, messages, notes } = done;
    let row = |place: RewoundPlace| {
        let RewoundPlace { topic, partition, from, to, .. } = place;
        PlaceRow { topic, partition, from, to }
    };
    Ok(Json(Done { group, messages, places: places.into_iter().map(row).collect(), notes }))
}

async fn retire(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Json(gone): Json<Gone>,
) -> Result<StatusCode, Problem> {
    let Gone { service, projection, version, dry_run, reason } = gone;
    let by = by(&caller, reason);
    let by = (!dry_run).then_some(&by);
    projections(&admin, &service)?.retire(&projection, version, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn back(text: &str) -> Result<Back, Fault> {
    let wrong = || Fault::field("to", WORDS);
    if let Some((place, offset)) = text.split_once('=') {
        let (topic, partition) = place.rsplit_once('/').ok_or_else(wrong)?;
        let (partition, offset) =
            (partition.parse().map_err(|_| wrong())?, offset.parse().map_err(|_| wrong())?);
        return Ok(Back::Offset { topic: topic.to_owned(), partition, offset });
    }
    match Start::parse(text) {
        Ok(Start::Earliest) => Ok(Back::Earliest),
        Ok(Start::Time(time)) => Ok(Back::Time(time)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Time;

    #[test]
    fn a_way_back_is_a_word_a_time_or_a_place() {
        assert_eq!(back("earliest"), Ok(Back::Earliest));
        assert_eq!(back("1970-01-01T00:00:01Z"), Ok(Back::Time(Time::from_millis(1000))));
        let place = Back::Offset { topic: "shop.sale".to_owned(), partition: 3, offset: 1200 };
        assert_eq!(back("shop.sale/3=1200"), Ok(place));
        for wrong in ["latest", "1200", "shop.sale/x=1", "shop.sale=1", "soon"] {
            assert!(back(wrong).unwrap_err().reason.starts_with("to: write earliest"), "{wrong}");
        }
    }
}
