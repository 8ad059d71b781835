//! Something has changed: told to several who wait, in the order in which they began to wait. (A watch channel wakes them in an
//! order by chance, and a simulated run would not be the same twice.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

#[derive(Default)]
struct Inner {
    count: AtomicU64,
    notify: Notify,
}

/// The side that tells.
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<Inner>);

/// One who is told.
pub(crate) struct Changed {
    inner: Arc<Inner>,
    seen: u64,
}

impl Changes {
    pub fn tell(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// What changes from now on.
    pub fn subscribe(&self) -> Changed {
        Changed { seen: self.0.count.load(Ordering::SeqCst), inner: self.0.clone() }
    }
}

impl Changed {
    /// Whether something has changed that was not seen yet.
    pub fn is_news(&self) -> bool {
        self.inner.count.load(Ordering::SeqCst) != self.seen
    }

    /// Takes what there is as seen.
    pub fn see(&mut self) {
        self.seen = self.inner.count.load(Ordering::SeqCst);
    }

    /// Returns at once where there is news, else with the next; several become one.
    pub async fn changed(&mut self) {
        loop {
            // Made before the look, so that nothing is missed in between.
            let told = self.inner.notify.notified();
            if self.inner.count.load(Ordering::SeqCst) != self.seen {
                break;
            }
            told.await;
        }
        self.see();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn several_changes_are_one_and_what_was_before_is_no_news() {
        let changes = Changes::default();
        changes.tell();
        let (mut one, mut other) = (changes.subscribe(), changes.subscribe());
        assert!(one.changed().now_or_never().is_none() && !one.is_news());
        changes.tell();
        changes.tell();
        assert!(one.is_news() && one.changed().now_or_never().is_some());
        assert!(one.changed().now_or_never().is_none());
        other.see();
        assert!(other.changed().now_or_never().is_none());
    }
}
