//! Transactions that begin with their first statement.

use crate::db::{Db, Isolation};
use crate::row::Row;
use crate::session::Session;
use crate::value::Values;
use crate::{Engine, Lane, StoreError};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use sqlx::SqlStr;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A transaction, or what it takes to begin it.
pub(crate) enum Begun {
    /// Since that moment.
    Yes(Session, Instant),
    Late(Late),
}

/// One that begins with its first statement, behind whoever it has to wait for.
pub(crate) struct Late {
    db: Db,
    lane: Lane,
    after: CancellationToken,
}

impl Late {
    pub fn new(db: &Db, lane: Lane, after: CancellationToken) -> Late {
        Late { db: db.clone(), lane, after }
    }
}

impl Begun {
    pub fn now(session: Session) -> Begun {
        Begun::Yes(session, Instant::now())
    }

    pub fn engine(&self) -> Engine {
        match self {
            Begun::Yes(session, _) => session.engine(),
            Begun::Late(late) => late.db.engine(),
        }
    }

    /// How long it has gone on for.
    pub fn held(&self) -> Duration {
        match self {
            Begun::Yes(_, since) => since.elapsed(),
            Begun::Late(_) => Duration::ZERO,
        }
    }

    /// Begins it, if it has not begun.
    pub async fn session(&mut self) -> Result<&mut Session, StoreError> {
        if let Begun::Late(late) = self {
            late.after.cancelled().await;
            *self = Begun::now(late.db.session(late.lane, Isolation::Serializable).await?);
        }
        match self {
            Begun::Yes(session, _) => Ok(session),
            Begun::Late(late) => Err(StoreError::Closed { database: late.db.name().to_owned() }),
        }
    }

    /// The rows of a statement one by one.
    pub fn stream(
        &mut self,
        sql: SqlStr,
        values: Values,
    ) -> Result<BoxStream<'_, Result<Row, StoreError>>, StoreError> {
        if let Begun::Yes(session, _) = self {
            return session.stream(sql, values.0.into_iter());
        }
        let begins = async move { self.session().await?.stream(sql, values.0.into_iter()) };
        Ok(futures::stream::once(begins).try_flatten().boxed())
    }
}
