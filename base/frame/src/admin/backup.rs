//! Backups of an embedded node while it runs: one at a time, begun by a request and watched by others.

use super::Admin;
use crate::backup::{BackupError, Manifest, Progress, Source, take};
use crate::config::Config;
use crate::edge::{Json, Needs, Operate, Problem, Routes};
use artel_bus::Segments;
use artel_flow::Clock;
use artel_message::{Code, Fault, Time};
use artel_store::Store;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// What backups are taken of, and the last one.
#[derive(Clone)]
pub(crate) struct Backups(Arc<Inner>);

struct Inner {
    /// `None` where the node is not embedded.
    source: Option<Source>,
    last: Mutex<Option<Job>>,
}

struct Job {
    folder: PathBuf,
    progress: Progress,
    /// `None` while it runs.
    ended: Option<Result<Box<Manifest>, String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// A folder on the node's machine, from its root, that is empty or not there yet.
    folder: PathBuf,
}

/// The last backup that this node was asked for since its start.
#[derive(Serialize, JsonSchema)]
struct BackupState {
    folder: PathBuf,
    /// `running`, `done` or `failed`
    state: &'static str,
    /// What is being done.
    doing: String,
    /// Bytes done of that, and of how many; 0 where that is not known.
    done: u64,
    total: u64,
    /// Why there is none, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The moment that all of it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    databases: Option<usize>,
}

impl Backups {
    pub(crate) fn of(log: Option<Arc<Segments>>, store: &Store, config: &Config, clock: &Clock) -> Backups {
        let source = log.filter(|_| store.folder().is_some()).map(|log| Source {
            log,
            store: store.clone(),
            node: config.node.name.clone(),
            clock: clock.clone(),
        });
        Backups(Arc::new(Inner { source, last: Mutex::default() }))
    }

    fn last<T>(&self, look: impl FnOnce(&mut Option<Job>) -> T) -> T {
        look(&mut self.0.last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins one, unless one runs.
    fn begin(&self, folder: PathBuf, closing: CancellationToken) -> Result<(), Fault> {
        let Some(source) = self.0.source.clone() else {
            return Err(Fault::invalid(
                "this node keeps its state in Kafka or PostgreSQL; use their own tools, the databases before the topics",
            ));
        };
        let progress = Progress::default();
        self.last(|last| {
            if last.as_ref().is_some_and(|job| job.ended.is_none()) {
                return Err(Fault::conflict("a backup is being taken; wait until it is through"));
            }
            *last = Some(Job { folder: folder.clone(), progress: progress.clone(), ended: None });
            Ok(())
        })?;
        let own = self.clone();
        tokio::spawn(async move {
            let taken = tokio::select! {
                taken = take(&source, &folder, &progress) => taken.map_err(|error| said(&error)),
                () = closing.cancelled() => Err("the node stops; take the backup again".to_owned()),
            };
            match &taken {
                Ok(manifest) => {
                    tracing::info!(folder = %folder.display(), bytes = manifest.bytes(), "a backup was taken");
                }
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), error, "a backup was not taken");
                }
            }
            own.last(|last| {
                if let Some(job) = last {
                    job.ended = Some(taken.map(Box::new));
                }
            });
        });
        Ok(())
    }

    fn state(&self) -> Result<BackupState, Fault> {
        self.last(|last| {
            let job = last.as_ref().ok_or_else(|| {
                Fault::not_found(
                    "no backup was asked for since this node started; POST a folder to begin one",
                )
            })?;
            let (reached, ended) = (job.progress.now(), job.ended.as_ref());
            let manifest = ended.and_then(|ended| ended.as_ref().ok());
            Ok(BackupState {
                folder: job.folder.clone(),
                state: match ended {
                    None => "running",
                    Some(Ok(_)) => "done",
                    Some(Err(_)) => "failed",
                },
                doing: reached.doing,
                done: reached.done,
                total: reached.total,
                error: ended.and_then(|ended| ended.as_ref().err().cloned()),
                cut_at: manifest.map(|manifest| manifest.cut_at),
                bytes: manifest.map(|manifest| manifest.bytes()),
                records: manifest.map(|manifest| manifest.records()),
                databases: manifest.map(|manifest| manifest.databases.len()),
            })
        })
    }
}

fn said(error: &BackupError) -> String {
    error.to_string()
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new()
        .post("/api/admin/backup", begin, |op| {
            op.summary("Begin a backup of this node into a folder of its machine")
                .description(
                    "For an embedded node. It goes on beside the work; `GET` says how far it is. Writers wait for some \
                     milliseconds while it begins.",
                )
                .answers::<BackupState>(202, "it has begun")
                .refuses(&[Code::Conflict, Code::Invalid])
        })
        .get("/api/admin/backup", show, |op| {
            op.summary("Show how far the last backup is")
                .answers::<BackupState>(200, "the last one since the start")
                .refuses(&[Code::NotFound])
        })
}

async fn begin(
    State(admin): State<Admin>,
    caller: Needs<Operate>,
    Json(wanted): Json<Wanted>,
) -> Result<(StatusCode, Json<BackupState>), Problem> {
    tracing::info!(folder = %wanted.folder.display(), user.name = &*caller.name, "a backup was asked for");
    admin.0.backups.begin(wanted.folder, admin.0.closing.clone())?;
    Ok((StatusCode::ACCEPTED, Json(admin.0.backups.state()?)))
}

async fn show(State(admin): State<Admin>, _: Needs<Operate>) -> Result<Json<BackupState>, Problem> {
    Ok(Json(admin.0.backups.state()?))
}
