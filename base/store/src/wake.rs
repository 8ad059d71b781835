//! Wake-ups: who waits for work is told that there is some. They only make things quicker. One may get lost (a connection
//! breaks, a process dies before it sends), so whoever waits looks by itself too, slowly; and one may come for nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Waits for the wake-ups of one channel of a database: [`crate::Db::woken`].
pub struct Woken {
    receiver: watch::Receiver<()>,
    // Its sender lives there: without it this would wait for ever, and with it too, but not fail.
    _wakes: Arc<Wakes>,
}

impl Woken {
    /// Returns at once where there was a wake-up since the last call, else with the next one. Several become one.
    pub async fn wait(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The channels of one database in this process.
#[derive(Default)]
pub(crate) struct Wakes(Mutex<HashMap<String, watch::Sender<()>>>);

impl Wakes {
    fn channels(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn woken(self: &Arc<Self>, channel: &str) -> Woken {
        let mut channels = self.channels();
        let receiver = channels.entry(channel.to_owned()).or_default().subscribe();
        Woken { receiver, _wakes: Arc::clone(self) }
    }

    pub fn wake(&self, channel: &str) {
        if let Some(channel) = self.channels().get(channel) {
            channel.send_replace(());
        }
    }

    #[cfg(feature = "postgres")]
    pub fn wake_all(&self) {
        for channel in self.channels().values() {
            channel.send_replace(());
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
