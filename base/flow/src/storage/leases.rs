//! Who does what: leases of partitions (in `flow_offset`) and of work that one node at a time does (in `flow_lease`). Each
//! change of an owner raises the epoch, and is made only if the epoch is still the one that was seen.

use artel_store::{Engine, FromRow, Read, Row, StoreError, Write};
use uuid::Uuid;

/// What can be leased.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Partition { grp: String, topic: String, partition: u32 },
    Work(String),
}

/// A lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub subject: Subject,
    pub owner: Option<Uuid>,
    pub epoch: i64,
}

impl FromRow for Lease {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let subject = Subject::Partition {
            grp: row.get("grp")?,
            topic: row.get("topic")?,
            partition: row.get("partition")?,
        };
        Ok(Lease { subject, owner: row.get("owner")?, epoch: row.get("epoch")? })
    }
}

/// Every lease of the service.
pub(crate) async fn all(read: &mut Read) -> Result<Vec<Lease>, StoreError> {
    let mut leases: Vec<Lease> = read
        .all("SELECT grp, topic, partition, owner, epoch FROM flow_offset ORDER BY grp, topic, partition", ())
        .await?;
    let work: Vec<(String, Option<Uuid>, i64)> =
        read.all("SELECT name, owner, epoch FROM flow_lease ORDER BY name", ()).await?;
    let of = |(name, owner, epoch)| Lease { subject: Subject::Work(name), owner, epoch };
    leases.extend(work.into_iter().map(of));
    Ok(leases)
}

/// Bounds how long this transaction waits for a row that another one holds, where that can be.
pub(crate) async fn wait_shortly(write: &mut Write, engine: Engine) -> Result<(), StoreError> {
    if engine == Engine::Postgres {
        write.exec("SET LOCAL lock_timeout = '500ms'", ()).await?;
    }
    Ok(())
}

/// Gives a lease another owner, if it still stands as it was seen.
pub(crate) async fn change(write: &mut Write, seen: &Lease, owner: Option<Uuid>) -> Result<bool, StoreError> {
    let rows = match &seen.subject {
        Subject::Partition { grp, topic, partition } => {
            write
                .exec(
                    "UPDATE flow_offset SET owner = $1, epoch = epoch + 1
                     WHERE grp = $2 AND topic = $3 AND partition = $4 AND epoch = $5",
                    (owner, grp.as_str(), topic.as_str(), *partition, seen.epoch),
                )
                .await?
        }
        Subject::Work(name) => {
            write
                .exec(
                    "UPDATE flow_lease SET owner = $1, epoch = epoch + 1 WHERE name = $2 AND epoch = $3",
                    (owner, name.as_str(), seen.epoch),
                )
                .await?
        }
    };
    Ok(rows == 1)
}

/// Locks a lease of work for this transaction; false when it is somebody else's by now.
pub(crate) async fn hold(write: &mut Write, name: &str, owner: Uuid, epoch: i64) -> Result<bool, StoreError> {
    let rows = write
        .exec(
            "UPDATE flow_lease SET epoch = epoch WHERE name = $1 AND owner = $2 AND epoch = $3",
            (name, owner, epoch),
        )
        .await?;
    Ok(rows == 1)
}

/// Whether a lease of work is still this owner's, without locking it.
pub(crate) async fn is_held(
    read: &mut Read,
    name: &str,
    owner: Uuid,
    epoch: i64,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = read
        .opt(
            "SELECT epoch FROM flow_lease WHERE name = $1 AND owner = $2 AND epoch = $3",
            (name, owner, epoch),
        )
        .await?;
    Ok(row.is_some())
}

/// Takes everything, when it is known that nobody else can have it: on SQLite, where the folder's lock proves it.
pub(crate) async fn take_all(write: &mut Write, owner: Uuid) -> Result<(), StoreError> {
    write.exec("UPDATE flow_offset SET owner = $1, epoch = epoch + 1", (owner,)).await?;
    write.exec("UPDATE flow_lease SET owner = $1, epoch = epoch + 1", (owner,)).await?;
    Ok(())
}

/// Takes what this node had before: a new epoch keeps out what may still run of its former life.
pub(crate) async fn renew_own(write: &mut Write, owner: Uuid) -> Result<(), StoreError> {
    write.exec("UPDATE flow_offset SET epoch = epoch + 1 WHERE owner = $1", (owner,)).await?;
    write.exec("UPDATE flow_lease SET epoch = epoch + 1 WHERE owner = $1", (owner,)).await?;
    Ok(())
}
