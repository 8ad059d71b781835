//! Wake-ups: who waits for work is told that there is some. They only make things quicker. One may get lost (a connection
//! breaks, a process dies before it sends), so whoever waits looks by itself too, slowly; and one may come for nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Waits for the wake-ups of one channel of a database: [`crate::Db::woken`].
pub struct Woken {
    channel: Arc<Channel>,
    /// How many wake-ups were seen.
    seen: u64,
}

impl Woken {
    /// Returns at once where there was a wake-up since the last call, else with the next one. Several become one.
    pub async fn wait(&mut self) {
        loop {
            // Made before the look, so that none is missed in between.
            let woken = self.channel.waiters.notified();
            let count = self.channel.count.load(Ordering::SeqCst);
            if count != self.seen {
                self.seen = count;
                return;
            }
            woken.await;
        }
    }
}

/// Wakes who waits in the order in which they began to: a watch channel would do it by chance.
#[derive(Default)]
struct Channel {
    count: AtomicU64,
    waiters: Notify,
}

impl Channel {
    fn wake(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.waiters.notify_waiters();
    }
}

/// The channels of one database in this process.
#[derive(Default)]
pub(crate) struct Wakes(Mutex<HashMap<String, Arc<Channel>>>);

impl Wakes {
    fn channels(&self) -> MutexGuard<'_, HashMap<String, Arc<Channel>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn woken(&self, channel: &str) -> Woken {
        let channel = self.channels().entry(channel.to_owned()).or_default().clone();
        Woken { seen: channel.count.load(Ordering::SeqCst), channel }
    }

    pub fn wake(&self, channel: &str) {
        if let Some(channel) = self.channels().get(channel) {
            channel.wake();
        }
    }

    #[cfg(feature = "postgres")]
    pub fn wake_all(&self) {
        for channel in self.channels().values() {
            channel.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn many_wake_ups_are_one_and_other_channels_sleep_on() {
        let wakes = Arc::new(Wakes::default());
        let (mut one, mut same, mut other) = (wakes.woken("a"), wakes.woken("a"), wakes.woken("b"));
        assert!(one.wait().now_or_never().is_none());
        wakes.wake("a");
        wakes.wake("a");
        wakes.wake("nobody");
        assert!(one.wait().now_or_never().is_some() && same.wait().now_or_never().is_some());
        assert!(one.wait().now_or_never().is_none() && other.wait().now_or_never().is_none());
        assert!(wakes.woken("a").wait().now_or_never().is_none(), "what was before is not told");
    }
}
