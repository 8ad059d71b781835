//! The SQL of the members.

use super::Member;
use artel_message::Time;
use artel_store::{FromRow, Read, Row, StoreError, Write};
use uuid::Uuid;

/// Stands before what is no role: a group.
const GROUP: char = '+';

/// A row: the member and its beat.
pub(super) struct Stored {
    pub member: Member,
    pub beat: i64,
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let roles: String = row.get("roles")?;
        let all = || roles.split(',').filter(|role| !role.is_empty());
        let member = Member {
            id: row.get("id")?,
            name: row.get("name")?,
            roles: all().filter(|role| !role.starts_with(GROUP)).map(str::to_owned).collect(),
            groups: all().filter_map(|role| role.strip_prefix(GROUP)).map(str::to_owned).collect(),
            peer: row.get("peer")?,
            version: row.get("version")?,
            started_at: row.get("started_at")?,
            seen_at: row.get("seen_at")?,
            alive: true,
        };
        Ok(Stored { member, beat: row.get("beat")? })
    }
}

pub(super) async fn beat(write: &mut Write, me: &Member, now: Time) -> Result<(), StoreError> {
    write
        .exec(
            "INSERT INTO node (id, name, roles, peer, version, started_at, beat, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, 1, $7)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, roles = excluded.roles, peer = excluded.peer,
                 version = excluded.version, started_at = excluded.started_at, beat = node.beat + 1,
                 seen_at = excluded.seen_at",
            (
                me.id,
                me.name.as_str(),
                roles_of(me),
                me.peer.clone(),
                me.version.as_str(),
                me.started_at,
                now,
            ),
        )
        .await?;
    Ok(())
}

fn roles_of(me: &Member) -> String {
    let groups = me.groups.iter().map(|group| format!("{GROUP}{group}"));
    me.roles.iter().cloned().chain(groups).collect::<Vec<_>>().join(",")
}

pub(super) async fn all(write: &mut Write) -> Result<Vec<Stored>, StoreError> {
    write
        .all("SELECT id, name, roles, peer, version, started_at, beat, seen_at FROM node ORDER BY id", ())
        .await
}

pub(super) async fn any(read: &mut Read) -> Result<bool, StoreError> {
    let row: Option<(Uuid,)> = read.opt("SELECT id FROM node LIMIT 1", ()).await?;
    Ok(row.is_some())
}

pub(super) async fn remove(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.exec("DELETE FROM node WHERE id = $1", (id,)).await?;
    Ok(())
}
