//! A thread of its own for what holds a database's turn.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;

/// Runs it on a thread of its own, where the runtime has many. A transaction waits for each of its statements, and where thousands of calls are
/// ready it would stand behind all of them after each one, while everybody else waits for its turn. Whoever is dropped takes it along.
pub(crate) async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let here = Handle::current();
    if here.runtime_flavor() != RuntimeFlavor::MultiThread {
        return work.await;
    }
    let left = CancellationToken::new();
    let _leaves = left.clone().drop_guard();
    let there = tokio::task::spawn_blocking(move || here.block_on(left.run_until_cancelled_owned(work)));
    match there.await {
        Ok(Some(done)) => done,
        // The runtime is going down, and this task with it.
        Ok(None) => std::future::pending().await,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
