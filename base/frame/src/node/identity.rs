//! Which node this is, over restarts: an id in the data folder. The folder's lock makes sure that no two nodes are the same.

use super::StartFailure;
use std::path::Path;
use uuid::Uuid;

const FILE: &str = "node-id";

/// The id that the folder holds; a fresh one is written where there is none.
pub(crate) fn of(folder: &Path) -> Result<Uuid, StartFailure> {
    let path = folder.join(FILE);
    let failed = |reason: String| StartFailure::Folder { path: path.clone(), reason };
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            failed("it holds no node id; remove the file, and the node gets a new one".to_owned())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = Uuid::now_v7();
            let new = folder.join(format!("{FILE}.new"));
            std::fs::write(&new, format!("{id}\n"))
                .and_then(|()| std::fs::rename(&new, &path))
                .map_err(|error| failed(error.to_string().to_lowercase()))?;
            Ok(id)
        }
        Err(error) => Err(failed(error.to_string().to_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_id_and_another_has_another() {
        let (a, b) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let first = of(a.path()).expect("an id");
        assert_eq!(of(a.path()).expect("the same"), first);
        assert_ne!(of(b.path()).expect("an id"), first);
        std::fs::write(a.path().join(FILE), "garbage").expect("written");
        assert!(of(a.path()).expect_err("is refused").to_string().contains("node-id"));
    }
}
