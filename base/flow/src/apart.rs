//! A thread of its own for what holds a database's turn.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs it on a thread of its own, where the runtime has many. A transaction waits for each of its statements, and where thousands of calls are
/// ready it would stand behind all of them after each one, while everybody else waits for its turn. What is begun goes on to
/// its end, also where nobody waits for it any more.
pub(crate) async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let here = Handle::current();
    if here.runtime_flavor() != RuntimeFlavor::MultiThread {
        return work.await;
    }
    match tokio::task::spawn_blocking(move || here.block_on(work)).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
