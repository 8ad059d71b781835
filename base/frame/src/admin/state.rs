//! What is known of this node from its start, and how its migrations stand.

use super::Admin;
use crate::config::Config;
use crate::edge::{Json, Needs, Operate, Problem, Routes};
use artel_flow::{Runtime, Service};
use artel_message::{Fault, Time};
use artel_store::Migrations;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// What is known of a node from its start.
#[derive(Clone)]
pub(crate) struct Facts(pub(super) Arc<Known>);

pub(super) struct Known {
    pub node: String,
    pub data_dir: String,
    pub bus_url: String,
    pub db_url: String,
    pub cache_url: String,
    pub started: Time,
    /// The whole table of services with their migrations.
    pub services: Vec<(String, Vec<Migrations>)>,
}

impl Facts {
    pub(crate) fn new(config: &Config, services: &[Service], started: Time) -> Facts {
        let services = services.iter().map(|s| (s.name().to_owned(), s.migration_sets())).collect();
        Facts(Arc::new(Known {
            node: config.node.name.clone(),
            data_dir: config.node.data_dir.display().to_string(),
            bus_url: config.bus.url.to_string(),
            db_url: config.db.url.to_string(),
            cache_url: config.cache.url.to_string(),
            started,
            services,
        }))
    }

    /// The services that run here.
    pub(crate) fn running(&self, runtime: &Runtime) -> Vec<String> {
        let names = self.0.services.iter().map(|(name, _)| name);
        names.filter(|name| runtime.ctx(name).is_some()).cloned().collect()
    }
}

#[derive(Serialize, JsonSchema)]
struct MigrationRows {
    items: Vec<MigrationRow>,
}

/// One file of a service's migrations.
#[derive(Serialize, JsonSchema)]
struct MigrationRow {
    service: String,
    component: String,
    version: u32,
    file: String,
    /// `applied`, `pending`, `changed` (applied with another text), `newer` (applied by a newer program, and works with this one), or
    /// `unknown` (applied by a newer program, and does not)
    state: &'static str,
    /// The last migration of the component that a program has to know to work with it; none where that is this one
    #[serde(skip_serializing_if = "Option::is_none")]
    works_from: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
}

pub(super) fn routes() -> Routes<Admin> {
    Routes::new().get("/api/admin/migrations", migrations, |op| {
        op.summary("List migrations and how they stand").answers::<MigrationRows>(200, "by service")
    })
}

async fn migrations(State(admin): State<Admin>, _: Needs<Operate>) -> Result<Json<MigrationRows>, Problem> {
    let mut items = Vec::new();
    for (service, sets) in &admin.0.facts.0.services {
        if admin.0.runtime.ctx(service).is_none() {
            continue;
        }
        let db = admin.0.store.db(service).await.map_err(Fault::from)?;
        for line in db.migration_status(sets).await.map_err(Fault::from)? {
            let (state, at) = line.state.named();
            let (component, version, file, works_from) =
                (line.component, line.version, line.file, line.works_from);
            let service = service.clone();
            items.push(MigrationRow { service, component, version, file, state, works_from, at });
        }
    }
    Ok(Json(MigrationRows { items }))
}
