//! What there is to be moved.

use super::MoveError;
use crate::node::Standing;
use artel_bus::{Log, Topics};
use artel_flow::Service;
use artel_flow::moving;
use artel_store::{Db, MigrationState};

/// What a move moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub topics: Vec<PlannedTopic>,
    pub databases: Vec<PlannedDatabase>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTopic {
    pub name: String,
    pub partitions: u32,
    pub records: u64,
    /// As they lie on the disk.
    pub bytes: u64,
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDatabase {
    pub service: String,
    /// The tables with their rows.
    pub tables: Vec<(String, u64)>,
}

impl PlannedDatabase {
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows).sum()
    }
}

impl Plan {
    pub fn records(&self) -> u64 {
        self.topics.iter().map(|topic| topic.records).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.topics.iter().map(|topic| topic.bytes).sum()
    }

    pub fn rows(&self) -> u64 {
        self.databases.iter().map(PlannedDatabase::rows).sum()
    }
}

/// Looks at everything, and refuses what can't be moved as it stands.
pub(super) async fn of(source: &Standing, services: &[Service]) -> Result<Plan, MoveError> {
    let mut topics = Vec::new();
    for topic in source.log.list().await? {
        let mut records = 0;
        for partition in 0..topic.partitions {
            let bounds = source.log.bounds(&topic.name, partition).await?;
            records += u64::try_from(bounds.end - bounds.begin).unwrap_or(0);
        }
        topics.push(PlannedTopic {
            name: topic.name,
            partitions: topic.partitions,
            records,
            bytes: topic.bytes.iter().sum(),
            retention_ms: topic.retention_ms,
            retention_bytes: topic.retention_bytes,
        });
    }
    let names = source.store.names()?;
    let is_known = |name: &String| services.iter().any(|service| service.name() == name);
    let unknown: Vec<String> = names.iter().filter(|name| !is_known(name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(MoveError::Unknown(unknown));
    }
    let mut databases = Vec::new();
    for service in services.iter().filter(|service| names.iter().any(|name| name == service.name())) {
        databases.push(database(service, &source.store.db(service.name()).await?).await?);
    }
    Ok(Plan { topics, databases })
}

async fn database(service: &Service, db: &Db) -> Result<PlannedDatabase, MoveError> {
    let lines = db.migration_status(&service.migration_sets()).await?;
    let other = lines.into_iter().find(|line| !matches!(line.state, MigrationState::Applied { .. }));
    if let Some(line) = other {
        let (service, file) = (service.name().to_owned(), format!("{}/{}", line.component, line.file));
        return Err(match line.state {
            // This program may run on it, and would not make the tables that it has in the target.
            MigrationState::Newer { .. } | MigrationState::Unknown { .. } => {
                MoveError::Newer { service, file }
            }
            _ => MoveError::Migrations { service, file },
        });
    }
    moving::check(service.name(), db).await?;
    let mut tables = Vec::new();
    for table in db.tables().await? {
        let rows = db.read().await?.count_of(&table).await?;
        tables.push((table.name, rows));
    }
    Ok(PlannedDatabase { service: service.name().to_owned(), tables })
}
