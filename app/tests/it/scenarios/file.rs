//! Files by `artel produce`.

use crate::system::{System, artel, consumed, example, messages, stderr, stdout};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

pub async fn every_line_of_a_file_ends_as_consumed(system: &mut impl System) {
    let file = example("shipments.ndjson");
    let text = std::fs::read_to_string(&file).unwrap();
    let count = text.lines().count() as u64;
    let began = Instant::now();
    let sent = artel(system, &["produce", "--topic", "shipments", "--key-field", "shipment"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert!(stdout(&sent).starts_with(&format!("accepted {count}, refused 0, ")), "{}", stdout(&sent));
    let totals = consumed(system, count).await;
    println!("{count} lines consumed after {:?}", began.elapsed());
    assert_eq!((totals["accepted"].as_u64(), totals["consumed"].as_u64()), (Some(count), Some(count)));
    assert_eq!(totals["failed"], 0);
    let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
    for line in text.lines() {
        *wanted.entry(serde_json::from_str::<Value>(line).unwrap().to_string()).or_default() += 1;
    }
    for message in messages(system, "shipments").await {
        assert_eq!(message["status"], "consumed");
        assert_eq!(message["key"], message["value"]["shipment"]);
        *wanted.get_mut(&message["value"].to_string()).unwrap() -= 1;
    }
    assert!(wanted.values().all(|left| *left == 0), "every line is one message");
}

pub async fn bad_lines_are_named_and_the_others_go_on(system: &mut impl System) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.ndjson");
    std::fs::write(&file, "{\"k\":\"a\"}\n\n{\"k\":\n{\"l\":1}\n{\"k\":9007199254740993}\n").unwrap();
    let sent =
        artel(system, &["produce", "--topic", "mixed", "--key-field", "k"]).arg(&file).output().unwrap();
    assert_eq!(sent.status.code(), Some(1));
    assert!(stdout(&sent).starts_with("accepted 2, refused 2, "), "{}", stdout(&sent));
    let said = stderr(&sent);
    assert!(said.contains("line 3: not JSON: ") && said.contains("line 4: has no field 'k'"), "{said}");
    consumed(system, 2).await;
    let keys: Vec<Value> =
        messages(system, "mixed").await.iter().map(|message| message["key"].clone()).collect();
    assert!(keys.contains(&"a".into()) && keys.contains(&"9007199254740993".into()), "{keys:?}");
}
