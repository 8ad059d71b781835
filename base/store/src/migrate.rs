//! Migrations: files compiled in, applied in order, each in one transaction with its row in `artel_migration`.

use crate::db::Db;
use crate::row::{FromRow, Row};
use crate::sql::{self, Sql};
use crate::{Engine, Lane, StoreError, Write};
use artel_message::Time;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::collections::BTreeMap;

/// The migrations of one component (a service, the flow), in the order of their numbers. Made by [`crate::migrations!`].
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    pub component: &'static str,
    /// (`0001_init.sql`, its text). Numbers begin at 1 and leave no gap. A line that begins with `-- postgres:` is run on
    /// PostgreSQL without that beginning; to SQLite it is a comment. A line `-- works from 0003` says that a program which
    /// knows the files up to that one still works once this one is applied; without it only programs work that know it.
    pub files: &'static [(&'static str, &'static str)],
}

impl Migrations {
    /// Whether a program with these files works on a database where this migration of the component is applied. `works_from`
    /// is what the migration says of itself.
    pub fn works_with(&self, version: u32, works_from: Option<u32>) -> bool {
        works_from.unwrap_or(version) <= self.last()
    }

    /// The number of the last file.
    fn last(&self) -> u32 {
        u32::try_from(self.files.len()).unwrap_or(u32::MAX)
    }
}

/// The [`Migrations`] of a crate: `migrations!("notify", "0001_init.sql", "0002_index.sql")` takes the files from the
/// crate's folder `migrations`.
#[macro_export]
macro_rules! migrations {
    ($component:expr $(, $file:literal)* $(,)?) => {
        $crate::Migrations {
            component: $component,
            files: &[$(($file, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $file)))),*],
        }
    };
}

/// A migration that [`Db::migrate`] applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub component: String,
    pub version: u32,
    pub file: String,
}

/// How a migration stands between the program and the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    Applied {
        at: Time,
    },
    Pending,
    /// Applied with another text than the program has.
    Changed {
        at: Time,
    },
    /// Applied by a newer program and not known to this one, which works with it all the same.
    Newer {
        at: Time,
    },
    /// Applied and not known to the program, which must not run on it.
    Unknown {
        at: Time,
    },
}

impl MigrationState {
    /// Its name in the administration's API, and when it was applied.
    pub fn named(self) -> (&'static str, Option<Time>) {
        match self {
            MigrationState::Applied { at } => ("applied", Some(at)),
            MigrationState::Pending => ("pending", None),
            MigrationState::Changed { at } => ("changed", Some(at)),
            MigrationState::Newer { at } => ("newer", Some(at)),
            MigrationState::Unknown { at } => ("unknown", Some(at)),
        }
    }
}

/// One line of `artel migrate status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    pub component: String,
    pub version: u32,
    pub file: String,
    pub state: MigrationState,
    /// The last migration that a program has to know to work once this one is applied. None: this one.
    pub works_from: Option<u32>,
}

const CREATE: &str = "CREATE TABLE IF NOT EXISTS artel_migration (component TEXT NOT NULL, version BIGINT NOT NULL, \
     name TEXT NOT NULL, checksum BYTEA NOT NULL, applied_at BIGINT NOT NULL, works_from BIGINT, PRIMARY KEY (component, version))";
/// Databases that a program made before migrations said this.
const ADD_WORKS_FROM: &str = "ALTER TABLE artel_migration ADD COLUMN works_from BIGINT";
/// Whether the table is there, and has that column; by its text on SQLite, where the table function of the pragma crashes in databases
/// that were loaded from memory.
const FOUND: Sql = Sql {
    sqlite: "SELECT count(*) > 0, count(CASE WHEN sql LIKE '%works_from%' THEN 1 END) > 0 FROM sqlite_schema \
         WHERE type = 'table' AND name = 'artel_migration'",
    postgres: "SELECT count(*) > 0, count(CASE WHEN column_name = 'works_from' THEN 1 END) > 0 \
         FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'artel_migration'",
};
const LIST: &str = "SELECT component, version, name, checksum, applied_at, works_from FROM artel_migration \
     ORDER BY component, version";
const LIST_WITHOUT: &str = "SELECT component, version, name, checksum, applied_at, CAST(NULL AS BIGINT) AS works_from \
     FROM artel_migration ORDER BY component, version";
const RECORD: &str = "INSERT INTO artel_migration (component, version, name, checksum, applied_at, works_from) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";

/// A row of `artel_migration`.
struct Recorded {
    component: String,
    version: u32,
    name: String,
    checksum: Vec<u8>,
    at: Time,
    works_from: Option<u32>,
}

impl FromRow for Recorded {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Recorded {
            component: row.get("component")?,
            version: row.get("version")?,
            name: row.get("name")?,
            checksum: row.get("checksum")?,
            at: row.get("applied_at")?,
            works_from: row.get("works_from")?,
        })
    }
}

impl Recorded {
    /// The program's files of its component.
    fn set<'s>(&self, sets: &'s [Migrations]) -> Option<&'s Migrations> {
        sets.iter().find(|set| set.component == self.component)
    }
}

/// A file of the program.
struct Known {
    component: &'static str,
    version: u32,
    file: &'static str,
    text: &'static str,
    works_from: Option<u32>,
}

/// What stands behind this at the beginning of a line runs on PostgreSQL alone; to SQLite it is a comment.
const POSTGRES_ONLY: &str = "-- postgres:";
/// What stands behind this is the number of the last file that a program has to know.
const WORKS_FROM: &str = "-- works from ";

impl Known {
    fn text_for(&self, engine: Engine) -> String {
        match engine {
            Engine::Sqlite => self.text.to_owned(),
            Engine::Postgres => {
                let line = |line: &'static str| line.strip_prefix(POSTGRES_ONLY).unwrap_or(line);
                self.text.lines().map(line).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// Reads the line that says from which programs on it works.
    fn with_works_from(mut self) -> Result<Known, StoreError> {
        let mut lines = self.text.lines().filter_map(|line| line.strip_prefix(WORKS_FROM));
        let Some(said) = lines.next() else { return Ok(self) };
        let from = said.trim_end().parse().ok().filter(|from| (1..=self.version).contains(from));
        if from.is_none() || lines.next().is_some() {
            let reason = format!(
                "expected is one line such as '{WORKS_FROM}{:04}', with an earlier file's number",
                self.version - 1
            );
            return Err(self.refused(reason));
        }
        self.works_from = from;
        Ok(self)
    }

    fn checksum(&self) -> Vec<u8> {
        Sha256::digest(self.text.as_bytes()).to_vec()
    }

    fn refused(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Migration {
            component: self.component.to_owned(),
            file: self.file.to_owned(),
            reason: reason.into(),
        }
    }
}

impl Db {
    /// Applies what is pending, each file in a transaction of its own, and gives what it applied. Several callers at
    /// once apply each file once. Refuses, before it changes anything: gaps and doubles in the numbers, a text that was
    /// changed after it had been applied, a database that is newer than the program and doesn't say that it works with it.
    pub async fn migrate(&self, sets: &[Migrations]) -> Result<Vec<Applied>, StoreError> {
        let known = known(sets)?;
        let pending = self.pending(sets, &known).await?;
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        self.make_record().await?;
        let now = self.now().await?;
        let mut applied = Vec::new();
        for file in known.iter().filter(|file| pending.contains(&(file.component, file.version))) {
            if self.apply(file, now).await? {
                tracing::info!(database = self.name(), file.component, file.file, "migration applied");
                applied.push(Applied {
                    component: file.component.to_owned(),
                    version: file.version,
                    file: file.file.to_owned(),
                });
            }
        }
        Ok(applied)
    }

    /// What [`Db::migrate`] would apply, with the same refusals. Changes nothing.
    pub async fn migration_plan(&self, sets: &[Migrations]) -> Result<Vec<MigrationStatus>, StoreError> {
        let known = known(sets)?;
        self.pending(sets, &known).await?;
        let status = self.migration_status(sets).await?;
        Ok(status.into_iter().filter(|line| line.state == MigrationState::Pending).collect())
    }

    /// Every migration of the program and of the database, by component and version. Changes nothing.
    pub async fn migration_status(&self, sets: &[Migrations]) -> Result<Vec<MigrationStatus>, StoreError> {
        let mut files: BTreeMap<_, _> =
            known(sets)?.into_iter().map(|file| ((file.component.to_owned(), file.version), file)).collect();
        let mut lines = Vec::new();
        for row in self.recorded().await? {
            let Recorded { component, version, name, at, works_from, .. } = &row;
            let state = match files.remove(&(component.clone(), *version)) {
                Some(file) if file.checksum() == row.checksum => MigrationState::Applied { at: *at },
                Some(_) => MigrationState::Changed { at: *at },
                None if row.set(sets).is_some_and(|set| set.works_with(*version, *works_from)) => {
                    MigrationState::Newer { at: *at }
                }
                None => MigrationState::Unknown { at: *at },
            };
            let (component, file) = (component.clone(), name.clone());
            lines.push(MigrationStatus {
                component,
                version: *version,
                file,
                state,
                works_from: *works_from,
            });
        }
        lines.extend(files.into_values().map(|file| MigrationStatus {
            component: file.component.to_owned(),
            version: file.version,
            file: file.file.to_owned(),
            state: MigrationState::Pending,
            works_from: file.works_from,
        }));
        lines.sort_by(|a, b| (&a.component, a.version).cmp(&(&b.component, b.version)));
        Ok(lines)
    }

    async fn recorded(&self) -> Result<Vec<Recorded>, StoreError> {
        let mut read = self.read().await?;
        match read.one::<(bool, bool)>(FOUND.pick(self.engine()), ()).await? {
            (false, _) => Ok(Vec::new()),
            (true, says) => read.all(if says { LIST } else { LIST_WITHOUT }, ()).await,
        }
    }

    /// The table of what is applied, with all of its columns.
    async fn make_record(&self) -> Result<(), StoreError> {
        let mut write = self.begin_change().await?;
        write.exec(CREATE, ()).await?;
        let (_, says): (bool, bool) = write.one(FOUND.pick(self.engine()), ()).await?;
        if !says {
            write.exec(ADD_WORKS_FROM, ()).await?;
        }
        write.commit().await
    }

    /// What is to be applied, as (component, version).
    async fn pending(
        &self,
        sets: &[Migrations],
        known: &[Known],
    ) -> Result<Vec<(&'static str, u32)>, StoreError> {
        let mut recorded: BTreeMap<(String, u32), Recorded> = self
            .recorded()
            .await?
            .into_iter()
            .map(|row| ((row.component.clone(), row.version), row))
            .collect();
        let mut pending = Vec::new();
        for file in known {
            match recorded.remove(&(file.component.to_owned(), file.version)) {
                None => pending.push((file.component, file.version)),
                Some(row) => check(file, &row)?,
            }
        }
        for row in recorded.values() {
            let Some(set) = row.set(sets) else { continue };
            if !set.works_with(row.version, row.works_from) {
                return Err(self.newer(row, set));
            }
            let (component, file) = (&row.component, &row.name);
            tracing::info!(
                database = self.name(),
                component,
                file,
                "a newer program's migration, which works with this one"
            );
        }
        Ok(pending)
    }

    /// What can't be run on as it stands.
    fn newer(&self, row: &Recorded, set: &Migrations) -> StoreError {
        StoreError::Newer {
            database: self.name().to_owned(),
            component: row.component.clone(),
            file: row.name.clone(),
            works_from: row.works_from.unwrap_or(row.version),
            knows: set.last(),
        }
    }

    /// A transaction that may change tables. On PostgreSQL other processes may be at it, so it waits for them, and sees
    /// what they did (READ COMMITTED); its statements take as long as they take.
    async fn begin_change(&self) -> Result<Write, StoreError> {
        let mut write = self.begin_plain(Lane::Interactive).await?;
        if let Some(key) = self.lock_key() {
            write.session().await?.take_time().await?;
            write.exec("SELECT pg_advisory_xact_lock($1)", (key,)).await?;
        }
        Ok(write)
    }

    /// False where another caller was quicker.
    async fn apply(&self, file: &Known, now: Time) -> Result<bool, StoreError> {
        let mut write = self.begin_change().await?;
        let args = (file.component, file.version, file.file, file.checksum(), now, file.works_from);
        if write.exec(RECORD, args).await? == 0 {
            write.rollback().await?;
            self.recheck(file).await?;
            return Ok(false);
        }
        self.run(&mut write, file).await?;
        write.commit().await?;
        Ok(true)
    }

    async fn run(&self, write: &mut Write, file: &Known) -> Result<(), StoreError> {
        // A file of the program, as it is or with its lines for this engine.
        let text = file.text_for(self.engine());
        match write.script(AssertSqlSafe(text).into_sql_str()).await {
            Err(StoreError::Statement { code, message }) => {
                Err(file.refused(format!("failed and was undone ({code}): {message}")))
            }
            done => done,
        }
    }

    async fn recheck(&self, file: &Known) -> Result<(), StoreError> {
        let recorded = self.recorded().await?;
        match recorded.iter().find(|row| row.component == file.component && row.version == file.version) {
            Some(row) => check(file, row),
            None => Err(file.refused("was undone by another process; run it again")),
        }
    }
}

fn check(file: &Known, row: &Recorded) -> Result<(), StoreError> {
    if row.checksum == file.checksum() {
        return Ok(());
    }
    Err(StoreError::Checksum { component: file.component.to_owned(), file: file.file.to_owned() })
}

/// The program's files, checked: numbers from 1 without gaps, no statement that would end the transaction.
fn known(sets: &[Migrations]) -> Result<Vec<Known>, StoreError> {
    let mut out: Vec<Known> = Vec::new();
    for set in sets {
        if out.iter().any(|file| file.component == set.component) {
            return Err(StoreError::Migration {
                component: set.component.to_owned(),
                file: String::new(),
                reason: "the component is given twice; register its migrations once".to_owned(),
            });
        }
        for (&(file, text), expected) in set.files.iter().zip(1u32..) {
            let known = Known { component: set.component, version: expected, file, text, works_from: None };
            let number = file.split_once('_').and_then(|(number, _)| number.parse::<u32>().ok());
            if number != Some(expected) || !file.ends_with(".sql") {
                return Err(
                    known.refused(format!("expected is a name such as {expected:04}_what_it_does.sql"))
                );
            }
            const ENDS: [&str; 9] =
                ["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "VACUUM", "ATTACH", "PRAGMA"];
            if let Some(word) = sql::first_words(text).iter().find(|word| ENDS.contains(&word.as_str())) {
                return Err(
                    known.refused(format!("{word} can't stand in a migration: it runs in one transaction"))
                );
            }
            out.push(known.with_works_from()?);
        }
    }
    Ok(out)
}
