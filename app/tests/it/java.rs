//! Kafka's own command line tools, from the jars in ARTEL_TEST_KAFKA_LIBS.

use crate::system::given;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
pub const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

#[derive(Clone)]
pub struct Tools {
    libs: PathBuf,
    brokers: String,
}

impl Tools {
    /// For these brokers; `None`, said on the standard output, where the jars are not given.
    pub fn given(brokers: &str) -> Option<Tools> {
        let libs = given("ARTEL_TEST_KAFKA_LIBS")?;
        Some(Tools { libs: libs.into(), brokers: brokers.to_owned() })
    }

    /// What the tool printed; it is given `input` to read.
    pub async fn run(&self, tool: &'static str, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new("java");
        command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(self.libs.join("*")).arg(tool).args(["--bootstrap-server", &self.brokers]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let ended = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let mut writing = child.stdin.take().unwrap();
            let writer = std::thread::spawn(move || writing.write_all(input.as_bytes()).unwrap());
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap();
            output
        });
        let output = ended.await.unwrap();
        let [told, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{tool} {arguments:?}: {errors}\n{told}");
        told
    }

    /// Writes a message per line, as a program that knows nothing of us.
    pub async fn produce(&self, topic: &str, more: &[&str], lines: &str) {
        let arguments = [&["--topic", topic], more].concat();
        self.run(PRODUCER, &arguments, lines).await;
    }
}
