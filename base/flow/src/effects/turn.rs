//! In which order rounds of telling write, while they compute beside one another.

use tokio_util::sync::CancellationToken;

/// The place of a round behind the one before it. That one is out of the way when it has written all, or has to try again.
pub(super) struct Turn {
    after: CancellationToken,
    next: CancellationToken,
}

impl Turn {
    /// Behind nobody.
    pub fn first() -> Turn {
        let after = CancellationToken::new();
        after.cancel();
        Turn { after, next: CancellationToken::new() }
    }

    /// The one behind this.
    pub fn next(&self) -> Turn {
        Turn { after: self.next.clone(), next: CancellationToken::new() }
    }

    pub fn after(&self) -> &CancellationToken {
        &self.after
    }

    pub fn has_come(&self) -> bool {
        self.after.is_cancelled()
    }

    pub async fn come(&self) {
        self.after.cancelled().await;
    }

    /// Lets the next one in.
    pub fn pass(&self) {
        self.next.cancel();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pass();
    }
}
