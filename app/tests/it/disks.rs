//! Disks that are full or damaged.

use crate::process::Process;
use crate::system::{System, consumed, get, post};
use crate::until::until;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A disk of its own, a few MiB small.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "artel-test"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(folder))
    }

    /// Leaves no room at all.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut file = File::create(&path).unwrap();
        let block = [7u8; 1 << 12];
        while file.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

async fn send(process: &Process, n: u64) -> u16 {
    let value = json!({ "n": n, "text": "x".repeat(2000) });
    post(process, "/api/bridge/messages", &json!({ "topic": "room", "value": value })).await.status
}

#[tokio::test]
async fn a_full_disk_is_answered_507_and_taken_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        println!(
            "skipped: a_full_disk_is_answered_507_and_taken_again_when_there_is_room: mounting a tmpfs needs root on Linux"
        );
        return;
    };
    let process = Process::with(Some(&disk.0.path().join("data")), &[]).await;
    let mut accepted = 0;
    assert_eq!(send(&process, accepted).await, 202);
    accepted += 1;
    consumed(&process, accepted).await;
    let filler = disk.fill();
    until("an answer 507", async || {
        let status = send(&process, accepted).await;
        accepted += u64::from(status == 202);
        assert!(matches!(status, 202 | 507), "{status}: {}", process.log());
        (status == 507).then_some(())
    })
    .await;
    let ready = process.client().get("/readyz").await.unwrap();
    assert_eq!(ready.status, 503);
    assert!(
        ready.json::<Value>().unwrap()["checks"]["disk"]["reason"]
            .as_str()
            .unwrap()
            .contains("are left on the disk")
    );
    std::fs::remove_file(filler).unwrap();
    until("messages taken again", async || {
        let status = send(&process, accepted).await;
        accepted += u64::from(status == 202);
        (status == 202).then_some(())
    })
    .await;
    let totals = consumed(&process, accepted).await;
    assert_eq!((totals["accepted"].as_u64(), totals["consumed"].as_u64()), (Some(accepted), Some(accepted)));
}

/// The segment files of a topic that hold something, by partition.
fn segments(data: &Path, topic: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(data.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let ours =
        folders.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{topic}-")));
    let logs = ours.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let full = logs
        .filter(|path| path.extension().is_some_and(|e| e == "log") && path.metadata().unwrap().len() > 0);
    let mut all: Vec<PathBuf> = full.collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_damaged_segment_stops_its_partition_loudly_and_no_other() {
    let mut process = Process::start().await;
    for n in 0..20 {
        let message = json!({ "topic": "hurt", "key": "one key", "value": n });
        assert_eq!(post(&process, "/api/bridge/messages", &message).await.status, 202);
        // One after the other, so that the segment has a batch for each.
        consumed(&process, n + 1).await;
    }
    assert!(process.stop().await.success());
    let segment = segments(&process.data_dir(), "hurt").remove(0);
    let file = File::options().write(true).open(&segment).unwrap();
    file.write_all_at(b"damage", 80).unwrap();
    process.begin();
    let ready = until("readiness that names the damage", async || {
        let answer = process.client().get("/readyz").await.unwrap();
        (answer.status == 503).then(|| answer.json::<Value>().unwrap())
    })
    .await;
    let reason = ready["checks"]["log"]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("hurt/") && reason.contains("is damaged") && reason.contains("from a backup"),
        "{reason}"
    );
    let topic = get(&process, "/api/admin/topics/hurt").await;
    let stopped =
        topic["partitions"].as_array().unwrap().iter().filter(|row| row["stopped"].is_string()).count();
    assert_eq!(stopped, 1, "{topic}");
    let other = post(&process, "/api/bridge/messages", &json!({ "topic": "well", "value": 1 })).await;
    assert_eq!(other.status, 202);
    consumed(&process, 21).await;
}
