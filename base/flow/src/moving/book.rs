//! The record of moves on the database that they go to.

use crate::members;
use crate::storage::moves;
use crate::{Failure, StartError};
use artel_message::Time;
use artel_store::{Db, Lane, Store, StoreError};
use uuid::Uuid;

/// A move to this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub id: Uuid,
    /// The node that it comes from, and its name.
    pub source: Uuid,
    pub source_name: String,
    /// The log that it goes to, for people and to be told from another one.
    pub log: String,
    /// The topics that it makes.
    pub topics: Vec<String>,
    /// Whether nothing was there when it began: then what is there is its own.
    pub empty: bool,
    /// Of those topics the ones that keep their messages for ever, since a group needs some that brokers might remove.
    pub kept: Vec<String>,
    pub began_at: Time,
    /// `None` = it is under way, or was interrupted: no node starts here.
    pub done_at: Option<Time>,
}

/// The moves to a database, in the schema of its nodes.
pub struct Arrivals(Db);

impl Arrivals {
    pub async fn open(store: &Store) -> Result<Arrivals, Failure> {
        let db = store.db(members::DATABASE).await?;
        db.migrate(&[members::tables()]).await?;
        Ok(Arrivals(db))
    }

    /// Every move, the oldest first.
    pub async fn all(&self) -> Result<Vec<Arrival>, Failure> {
        Ok(moves::all(&mut self.0.read().await?).await?)
    }

    /// Whether a node has ever run on this database.
    pub async fn any_node(&self) -> Result<bool, Failure> {
        Ok(members::any(&self.0).await?)
    }

    /// Writes a move down, unless another one is open.
    pub async fn begin(&self, arrival: &Arrival) -> Result<Option<Arrival>, Failure> {
        loop {
            // SERIALIZABLE: two that begin at the same moment collide.
            let attempt = async {
                let mut write = self.0.begin(Lane::Interactive).await?;
                if let Some(other) = moves::open(&mut write).await? {
                    return Ok(Some(other));
                }
                moves::begin(&mut write, arrival).await?;
                write.commit().await?;
                Ok::<_, StoreError>(None)
            };
            match attempt.await {
                Err(error) if error.is_rerun() => {}
                done => return Ok(done?),
            }
        }
    }

    /// Writes down that nothing was there.
    pub async fn empty(&self, id: Uuid) -> Result<(), Failure> {
        let mut write = self.0.begin_plain(Lane::Interactive).await?;
        moves::empty(&mut write, id).await?;
        Ok(write.commit().await?)
    }

    /// Writes down which topics keep their messages for ever.
    pub async fn keeps(&self, id: Uuid, topics: &[String]) -> Result<(), Failure> {
        let mut write = self.0.begin_plain(Lane::Interactive).await?;
        moves::keeps(&mut write, id, topics).await?;
        Ok(write.commit().await?)
    }

    /// Opens the database to nodes. False where the move is not there any more.
    pub async fn done(&self, id: Uuid, now: Time) -> Result<bool, Failure> {
        let mut write = self.0.begin_plain(Lane::Interactive).await?;
        let done = moves::done(&mut write, id, now).await?;
        write.commit().await?;
        Ok(done)
    }

    /// Takes back a move that changed nothing, or whose changes are taken back.
    pub async fn remove(&self, id: Uuid) -> Result<(), Failure> {
        let mut write = self.0.begin_plain(Lane::Interactive).await?;
        moves::remove(&mut write, id).await?;
        Ok(write.commit().await?)
    }
}

/// Refuses a database to which a move is not done.
pub(crate) async fn refuse_half(db: &Db) -> Result<(), StartError> {
    let open = moves::all(&mut db.read().await?).await?.into_iter().find(|arrival| arrival.done_at.is_none());
    match open {
        None => Ok(()),
        Some(Arrival { source_name, began_at, .. }) => Err(StartError::Arriving { source_name, began_at }),
    }
}
