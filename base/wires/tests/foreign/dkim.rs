//! Signatures, verified by dkimpy.

use super::given;
use artel_wires::mail::Dkim;
use base64::Engine as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Python with dkimpy, or a reason said aloud.
pub fn python(test: &str) -> Option<PathBuf> {
    given(test, "python/bin/python")
}

/// What it says of each signature of a mail, `good` or why not; the keys are published as they say.
pub fn verdicts(python: &Path, mail: &[u8], keys: &[Dkim]) -> Vec<String> {
    let records: serde_json::Map<_, _> =
        keys.iter().map(Dkim::record).map(|(name, value)| (name, value.into())).collect();
    let mail = base64::engine::general_purpose::STANDARD.encode(mail);
    let asked = serde_json::json!({ "mail": mail, "records": records }).to_string();
    let mut command = Command::new(python);
    command
        .args(["-c", include_str!("verify.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
