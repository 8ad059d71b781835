//! Waiting for the thing itself.

use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

/// Looks until there is something to see; fails with `what` when it takes too long.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut looks = tokio::time::interval(POLL);
    loop {
        looks.tick().await;
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for: {what}");
    }
}
