//! Kept connections of one account.

use super::connection::{Connection, Tls};
use super::settings::{BadSettings, Settings};
use super::transaction::{Carried, Done, content, envelope};
use super::wire::Mail;
use crate::said::{Handed, Said, Stage};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

/// Sends mails over a few kept connections, many mails over each. Clones share them.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    settings: Settings,
    tls: Tls,
    account: String,
    turns: Semaphore,
    idle: Mutex<Idle>,
}

/// The one used last stands last and is used first, so that those not needed grow old.
#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    /// Somebody closes those that grow old.
    watched: bool,
}

impl Client {
    /// Connects when the first mail is sent. Belongs to a tokio runtime only from then on.
    pub fn new(settings: Settings) -> Result<Client, BadSettings> {
        settings.check()?;
        let tls = settings.tls()?;
        let turns = Semaphore::new(settings.connections);
        let account = settings.account();
        Ok(Client(Arc::new(Inner { settings, tls, account, turns, idle: Mutex::default() })))
    }

    /// Carries one mail over, and says what was answered. `Stage::After` means that the final dot may have reached the server and
    /// no answer came. What the server said in EHLO that it can't take is [`Said::Unfit`].
    ///
    /// A connection that was kept and has died meanwhile is replaced: nothing had been heard on it, and no content sent. If the
    /// future is dropped, its connection is closed; whether the mail was taken is then not known.
    pub async fn send(&self, mail: &Mail) -> Handed {
        let (said, reference) = self.0.send(mail).await;
        Handed { said, reference, parts: Vec::new(), by: self.0.account.clone() }
    }

    /// Ends the connections that are not in use with QUIT; mails under way end first, later ones are not sent.
    pub async fn close(&self) {
        let inner = &self.0;
        let all = u32::try_from(inner.settings.connections).unwrap_or(u32::MAX);
        // Whoever holds a turn gives it back within its own time limits.
        let turns = inner.turns.acquire_many(all).await;
        inner.turns.close();
        drop(turns);
        let connections = std::mem::take(&mut inner.idle().connections);
        let quits = connections.into_iter().map(|one| tokio::spawn(one.quit(inner.settings.limits.clone())));
        for quit in quits.collect::<Vec<_>>() {
            let _ = quit.await;
        }
    }
}

impl Inner {
    async fn send(self: &Arc<Self>, mail: &Mail) -> (Said, Option<String>) {
        let broken = |text: &str| (Said::Broken { stage: Stage::Before, text: text.to_owned() }, None);
        let limits = &self.settings.limits;
        let late = || broken("the server did not come so far as to take the mail in time");
        let deadline = tokio::time::Instant::now() + limits.begin;
        let turn = limits.turn.min(limits.begin);
        let _turn = match tokio::time::timeout(turn, self.turns.acquire()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => return broken("the client is closed"),
            Err(_) => {
                return (Said::Busy { text: "no connection became free in time".to_owned() }, None);
            }
        };
        loop {
            let kept = self.take();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => match timeout_at(deadline, Connection::open(&self.settings, &self.tls)).await {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(unopened)) => return (unopened.0, None),
                    Err(_) => return late(),
                },
            };
            let carried = match timeout_at(deadline, envelope(&mut connection, mail, limits)).await {
                Ok(Carried::Ready) => content(&mut connection, mail, limits).await,
                Ok(Carried::Done(done)) => done,
                Err(_) => return late(),
            };
            let Done { said, reference, keep, ended } = carried;
            if keep {
                self.give_back(connection);
            }
            // It had ended while it was kept. There are at most as many of these as there are connections.
            if !(was_kept && ended) {
                return (said, reference);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept connection that lives, as far as is known.
    fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle().connections.pop()?;
            // Whatever a server says unasked is goodbye.
            if connection.link.quiet() && connection.used.elapsed() < self.settings.idle {
                return Some(connection);
            }
        }
    }

    /// Those that nobody needed for long, and when there will be more of them; nobody watches any more if there will be none.
    fn grown_old(&self) -> (Vec<Connection>, Option<Instant>) {
        let (most, now, mut idle) = (self.settings.idle, Instant::now(), self.idle());
        // The oldest stand first.
        let fresh = idle.connections.iter().position(|one| now.duration_since(one.used) < most);
        let fresh = fresh.unwrap_or(idle.connections.len());
        let old = idle.connections.drain(..fresh).collect();
        let next = idle.connections.first().map(|one| one.used + most);
        idle.watched = next.is_some();
        (old, next)
    }

    fn give_back(self: &Arc<Self>, mut connection: Connection) {
        let most = self.settings.mails_per_connection;
        if most > 0 && connection.mails >= most {
            tokio::spawn(connection.quit(self.settings.limits.clone()));
            return;
        }
        connection.used = Instant::now();
        let mut idle = self.idle();
        idle.connections.push(connection);
        if !std::mem::replace(&mut idle.watched, true) {
            drop(idle);
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }
}

/// Closes connections that are not needed, until there are none.
async fn watch(pool: Weak<Inner>) {
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let (old, next) = pool.grown_old();
        for connection in old {
            tokio::spawn(connection.quit(pool.settings.limits.clone()));
        }
        drop(pool);
        match next {
            Some(next) => tokio::time::sleep_until(next.into()).await,
            None => return,
        }
    }
}
