//! Many that ask for the same kind of thing at about the same time are answered together: while one round of them is worked on,
//! the next ones gather.

use artel_message::Fault;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The most in one round.
const MOST: usize = 1_000;

type Tell<R> = oneshot::Sender<Result<R, Fault>>;
type Asked<T, R> = (T, Tell<R>);

struct State<T, R> {
    waiting: VecDeque<Asked<T, R>>,
    working: bool,
}

/// Where they gather.
pub struct Gather<T, R>(Arc<Mutex<State<T, R>>>);

impl<T, R> Default for Gather<T, R> {
    fn default() -> Gather<T, R> {
        Gather(Arc::new(Mutex::new(State { waiting: VecDeque::new(), working: false })))
    }
}

impl<T: Send + 'static, R: Send + 'static> Gather<T, R> {
    /// Gives what `work` answers for `item`: one answer for each of a round, in order. The work goes on where whoever asked has left.
    pub async fn ask<W, F>(&self, item: T, work: W) -> Result<R, Fault>
    where
        W: Fn(Vec<T>) -> F + Send + 'static,
        F: Future<Output = Result<Vec<R>, Fault>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let begins = {
            let mut state = lock(&self.0);
            state.waiting.push_back((item, tell));
            !std::mem::replace(&mut state.working, true)
        };
        if begins {
            tokio::spawn(rounds(Working(self.0.clone()), work));
        }
        told.await.unwrap_or_else(|_| Err(Fault::unavailable("the node is stopping; it is tried again")))
    }
}

fn lock<T, R>(state: &Mutex<State<T, R>>) -> MutexGuard<'_, State<T, R>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it is there somebody works; where the work panics, those that wait are told, and the next one begins anew.
struct Working<T, R>(Arc<Mutex<State<T, R>>>);

impl<T, R> Working<T, R> {
    /// The next round; `None` = nobody waits, and nobody works any more.
    fn next(&self) -> Option<(Vec<T>, Vec<Tell<R>>)> {
        let mut state = lock(&self.0);
        if state.waiting.is_empty() {
            state.working = false;
            return None;
        }
        let most = state.waiting.len().min(MOST);
        Some(state.waiting.drain(..most).unzip())
    }
}

impl<T, R> Drop for Working<T, R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = lock(&self.0);
            state.working = false;
            state.waiting.clear();
        }
    }
}

async fn rounds<T, R, W, F>(working: Working<T, R>, work: W)
where
    W: Fn(Vec<T>) -> F,
    F: Future<Output = Result<Vec<R>, Fault>>,
{
    while let Some((items, tell)) = working.next() {
        match work(items).await {
            // Whoever asked may have left.
            Ok(answers) => {
                tell.into_iter().zip(answers).for_each(|(tell, answer)| drop(tell.send(Ok(answer))))
            }
            Err(fault) => tell.into_iter().for_each(|tell| drop(tell.send(Err(fault.clone())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    #[tokio::test]
    async fn those_that_come_while_a_round_is_worked_on_make_the_next_one() {
        let gather: Arc<Gather<u32, (u32, usize)>> = Arc::default();
        let (open, gate) = watch::channel(false);
        let ask = |n: u32| {
            let (gather, gate) = (gather.clone(), gate.clone());
            tokio::spawn(async move {
                let work = move |items: Vec<u32>| {
                    let mut gate = gate.clone();
                    async move {
                        gate.wait_for(|open| *open).await.map_err(|_| Fault::unavailable("over"))?;
                        let together = items.len();
                        Ok(items.into_iter().map(|n| (n * 2, together)).collect())
                    }
                };
                gather.ask(n, work).await
            })
        };
        let first = ask(1);
        while !lock(&gather.0).working || !lock(&gather.0).waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let rest: Vec<_> = (2..12).map(ask).collect();
        while lock(&gather.0).waiting.len() < 10 {
            tokio::task::yield_now().await;
        }
        open.send_replace(true);
        assert_eq!(first.await.unwrap(), Ok((2, 1)));
        for (n, task) in (2..12).zip(rest) {
            assert_eq!(task.await.unwrap(), Ok((n * 2, 10)));
        }
        let after =
            gather.ask(50, |items: Vec<u32>| async move { Ok(items.into_iter().map(|n| (n, 0)).collect()) });
        assert_eq!(after.await, Ok((50, 0)));
    }

    #[tokio::test]
    async fn a_fault_is_everybodys_and_the_next_round_goes() {
        let gather: Gather<u32, u32> = Gather::default();
        let failed = gather.ask(1, |_| async { Err(Fault::unavailable("no")) }).await;
        assert_eq!(failed, Err(Fault::unavailable("no")));
        assert_eq!(gather.ask(1, |items: Vec<u32>| async move { Ok(items) }).await, Ok(1));
    }
}
