//! The lines of the log, as a subscriber gets them that listens to this thread only: a test's node runs in it.

use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// How long a line is waited for, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Said;

    fn make_writer(&'a self) -> Said {
        self.clone()
    }
}

impl Said {
    /// Listens from here on, until the guard goes.
    ///
    /// `tracing` keeps for each line of the program whether anybody wants it. As long as there is one subscriber it asks the thread
    /// that comes there first, which may be another test's, where nobody wants it; and the line is lost for all. So there is
    /// one more, of all threads, which wants the same and throws it away.
    pub fn listen() -> (Said, impl Drop) {
        let nobody = tracing_subscriber::fmt().json().with_writer(io::sink).finish();
        // It is there already, from the second test on.
        let _ = tracing::subscriber::set_global_default(nobody);
        let said = Said::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(said.clone()).finish();
        (said, tracing::subscriber::set_default(subscriber))
    }

    /// The fields of the lines with this message, of whomever they are.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        let text = self.0.lock().expect("no panic").clone();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice::<Value>(line).expect("JSON")["fields"].take())
            .filter(|fields| fields["message"] == message)
            .collect()
    }

    /// The same number of each line.
    pub fn numbers(&self, message: &str, field: &str) -> Vec<u64> {
        self.lines(message).iter().map(|line| line[field].as_u64().expect("a number")).collect()
    }

    /// Waits for such a line, letting something happen between the looks.
    pub async fn until(&self, message: &str, is: impl Fn(&Value) -> bool, mut between: impl AsyncFnMut()) {
        let look = async {
            let mut again = tokio::time::interval(LOOK);
            while !self.lines(message).iter().any(&is) {
                between().await;
                again.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("nobody says: {message}"));
    }
}
