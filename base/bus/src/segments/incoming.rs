//! What the writer thread should know before a batch is there: waking a thread takes as long as encoding a batch, so it is
//! woken when the encoding begins and looks out for the batch until it comes.

use super::writer::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// How long the writer looks out for a batch before it sleeps again.
const LOOK_OUT: Duration = Duration::from_micros(100);

#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Callers between the start of encoding a batch and its place in the queue.
    encoding: AtomicUsize,
    /// Whether the writer sleeps, so that it has to be woken.
    asleep: AtomicBool,
}

/// One caller that is encoding.
pub(super) struct Encoding<'a>(&'a Incoming);

impl Incoming {
    /// Says that a batch is about to come. Nothing but time depends on it.
    pub fn begin(&self, queue: &Sender<Command>) -> Encoding<'_> {
        self.encoding.fetch_add(1, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Fails only when the writer has ended, which the batch will find out.
            let _ = queue.send(Command::LookOut);
        }
        Encoding(self)
    }

    /// The next command if one comes soon; `None` when there is nothing to expect. The writer may sleep then.
    pub fn look_out(&self, queue: &Receiver<Command>) -> Option<Command> {
        let start = Instant::now();
        loop {
            match queue.try_recv() {
                Ok(Command::LookOut) => {}
                Ok(command) => return Some(command),
                Err(_) if self.encoding.load(Ordering::SeqCst) > 0 && start.elapsed() < LOOK_OUT => {
                    // To whoever encodes, where there are more threads than processors.
                    std::thread::yield_now();
                }
                Err(_) => return None,
            }
        }
    }

    pub fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::SeqCst);
    }
}

impl Drop for Encoding<'_> {
    fn drop(&mut self) {
        self.0.encoding.fetch_sub(1, Ordering::SeqCst);
    }
}
