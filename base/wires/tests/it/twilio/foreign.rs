//! Twilio's own library for Python judges the simulator and its reports.
//!
//! ARTEL_TEST_FOREIGN names the folder that `cargo xtask backends install` fills. Without it the test says that it is skipped; on
//! CI it fails.

use super::{ACCOUNT, TOKEN, both, text};
use artel_wires::simulators::{Arrival, Behaviour, Receipt};
use artel_wires::twilio::callback::Form;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

#[tokio::test]
async fn the_providers_own_library_is_content() {
    let Some(folder) = std::env::var_os("ARTEL_TEST_FOREIGN") else {
        assert!(
            std::env::var("CI").map_or(true, |ci| ci != "true"),
            "ARTEL_TEST_FOREIGN is not set; `cargo xtask backends install` fetches what it names"
        );
        println!(
            "skipped: twilio::foreign::the_providers_own_library_is_content: ARTEL_TEST_FOREIGN is not set (others' programs, from ./test tools)"
        );
        return;
    };
    let judge = Arc::new(|_: &Arrival| Behaviour {
        receipts: vec![(Duration::from_millis(1), Receipt::Delivered)],
        ..Behaviour::default()
    });
    let both = both(judge, |_| {}).await;
    both.client.send(&text("from ours")).await;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/twilio_judge.py");
    let url = both.simulator.served().url();
    let output = Command::new(PathBuf::from(folder).join("python/bin/python"))
        .arg(script)
        .args([&url, ACCOUNT, TOKEN])
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let arrival = both.board.one(2).unwrap();
    assert_eq!((arrival.text.as_str(), arrival.key.as_str()), ("Посылка & письмо", "python"));
    assert_eq!(seen["sid"], arrival.reference.as_str());
    assert_eq!((&seen["fetched"], &seen["refused"]), (&"Посылка & письмо".into(), &21_211.into()));
    assert_eq!(seen["listed"], serde_json::json!(["Посылка & письмо", "from ours"]));
    // A report of the simulator's was good to the library, one with another token was not; and ours is content with the library.
    assert_eq!((&seen["signed"], &seen["forged"]), (&true.into(), &false.into()));
    let form = Form::read(seen["form"].as_str().unwrap().as_bytes()).unwrap();
    assert!(form.is_signed(TOKEN, seen["url"].as_str().unwrap(), seen["signature"].as_str().unwrap()));
}
