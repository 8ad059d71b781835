//! The connections that nobody uses at the moment.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct Pool {
    idle: Mutex<Vec<Link>>,
    /// Connections that exist or are being opened. Raised under the lock of `idle` only.
    open: Arc<AtomicUsize>,
    slots: usize,
}

/// A connection, and what is known about it.
pub(super) struct Link {
    connection: PgConnection,
    /// The schema of its search path.
    schema: Arc<str>,
    /// By the hash of a text, the types of the parameters that it was first prepared with.
    types: HashMap<u64, u64>,
    place: Place,
}

/// The right to one connection, from before it is opened until it is closed.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub fn new(slots: usize) -> Pool {
        Pool { idle: Mutex::default(), open: Arc::default(), slots }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one used last for that schema. Another one only where no more may be opened; otherwise the place for a new one,
    /// which counts from now on.
    pub fn take(&self, schema: &str) -> Result<Link, Place> {
        let mut idle = self.idle();
        match idle.iter().rposition(|link| &*link.schema == schema) {
            Some(at) => Ok(idle.remove(at)),
            None if self.open.load(Ordering::Relaxed) < self.slots || idle.is_empty() => {
                self.open.fetch_add(1, Ordering::Relaxed);
                Err(Place(Arc::clone(&self.open)))
            }
            None => Ok(idle.remove(0)),
        }
    }

    pub fn put(&self, link: Link) {
        self.idle().push(link);
    }

    /// As many as may be open.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many connections exist, and how many of those nobody uses.
    pub fn counts(&self) -> (usize, usize) {
        // Looked at first: one that is taken meanwhile counts as used.
        let idle = self.idle().len();
        (self.open.load(Ordering::Relaxed), idle)
    }

    /// Those of a schema, or all.
    pub fn drain(&self, schema: Option<&str>) -> Vec<Link> {
        let of = |link: &mut Link| schema.is_none_or(|schema| &*link.schema == schema);
        self.idle().extract_if(.., of).collect()
    }
}

impl Link {
    pub fn new(connection: PgConnection, place: Place) -> Link {
        Link { connection, schema: "".into(), types: HashMap::new(), place }
    }

    /// Drops the connection, for another one in its place.
    pub fn into_place(self) -> Place {
        self.place
    }

    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub fn into_connection(self) -> PgConnection {
        let Link { connection, place, .. } = self;
        drop(place);
        connection
    }

    /// Sets the schema. What is prepared belongs to the old one: the same text means other tables now.
    pub async fn serve(&mut self, schema: &Arc<str>) -> Result<(), sqlx::Error> {
        if self.schema == *schema {
            return Ok(());
        }
        self.connection.clear_cached_statements().await?;
        self.types.clear();
        let text = format!("SET search_path TO \"{schema}\"");
        self.connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?; // the name is checked: no quotes in it
        self.schema = Arc::clone(schema);
        Ok(())
    }

    /// Whether the text, on this connection, is prepared for parameters of these types or not yet prepared.
    pub fn fits(&mut self, text: u64, types: u64) -> bool {
        *self.types.entry(text).or_insert(types) == types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_from_when_it_is_given_until_it_is_dropped() {
        let pool = Pool::new(2);
        let first = pool.take("a").err().expect("a place");
        let second = pool.take("a").err().expect("a place");
        assert_eq!(pool.counts(), (2, 0), "both count before anything is connected");
        drop(first);
        assert_eq!(pool.counts(), (1, 0), "given back when connecting failed");
        drop(second);
        assert_eq!(pool.counts(), (0, 0));
    }
}
