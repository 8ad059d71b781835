//! Places at accounts, kept until what came of an attempt is stored. What was sent and is not stored is what nobody knows the end of when
//! the node dies: that is what an account bounds, however far storing lags behind sending.

use artel_contract::notify::DeliveryId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// An end that was not stored for so long is not this node's to store any more.
const LONGEST: Duration = Duration::from_secs(60);

/// A leg of a delivery.
type Of = (DeliveryId, u32);

/// The places of attempts that have ended.
#[derive(Default)]
pub struct Places(Mutex<HashMap<Of, (Instant, OwnedSemaphorePermit)>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<Of, (Instant, OwnedSemaphorePermit)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place until this moment, but takes one that is free whenever that is.
    pub async fn take(
        &self,
        until: Instant,
        place: impl Future<Output = Option<OwnedSemaphorePermit>>,
    ) -> Option<OwnedSemaphorePermit> {
        match timeout_at(until, place).await {
            Ok(place) => place,
            Err(_) => {
                // Somebody else has stored some of them, or nobody ever will: they are not waited for.
                self.lock().retain(|_, (since, _)| since.elapsed() < LONGEST);
                None
            }
        }
    }

    /// Keeps the place of an attempt that has ended.
    pub fn keep(&self, of: Of, place: OwnedSemaphorePermit) {
        self.lock().insert(of, (Instant::now(), place));
    }

    /// What came of these is stored.
    pub fn free(&self, all: impl IntoIterator<Item = Of>) {
        let mut kept = self.lock();
        all.into_iter().for_each(|of| drop(kept.remove(&of)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    #[tokio::test]
    async fn an_attempt_that_has_ended_has_its_place_until_it_is_stored() {
        let (places, account) = (Places::default(), Arc::new(Semaphore::new(1)));
        let ask = || async { account.clone().acquire_owned().await.ok() };
        // It is over: only what is free is taken.
        let until = Instant::now();
        let of = (DeliveryId::from(Uuid::from_u128(1)), 0);
        let place = places.take(until, ask()).await.unwrap();
        places.keep(of, place);
        assert!(places.take(until, ask()).await.is_none());
        places.free([(of.0, 1)]);
        assert_eq!(account.available_permits(), 0, "of another leg");
        places.free([of]);
        assert!(places.take(until, ask()).await.is_some());
    }
}
