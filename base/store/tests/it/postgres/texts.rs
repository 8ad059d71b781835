//! Every SQL text of the flow and of the products is taken by PostgreSQL, after their migrations.

use super::kit;
use artel_store::{Migrations, StoreSettings};
use std::path::{Path, PathBuf};

/// Crates with SQL in them, from this one's folder.
const CRATES: [(&str, &str); 2] = [("flow", "../flow"), ("bridge", "../../products/bridge")];

#[tokio::test]
async fn every_text_of_the_workspace_is_taken() {
    let Some(database) = kit::database().await else { return };
    let (_store, db) = database.store(StoreSettings::default()).await;
    let mut texts = Vec::new();
    let mut sets = Vec::new();
    for (component, folder) in CRATES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let own = folder.join("migrations");
        sets.push(Migrations { component, files: migrations(&own) });
        // What lies in folders of its own is another component's, of that name.
        for other in files(&own, "sql").into_iter().filter(|path| path.is_dir()) {
            let component = leak(other.file_name().expect("has a name").to_string_lossy().into_owned());
            sets.push(Migrations { component, files: migrations(&other) });
        }
        let before = texts.len();
        sources(&folder.join("src")).iter().for_each(|file| texts.extend(statements(file)));
        assert!(texts.len() > before + 10, "the texts of {component} are found");
    }
    db.migrate(&sets).await.expect("migrates");
    let problems = db.prepare_all(&texts).await.expect("tries them");
    let said: Vec<String> = problems.iter().map(|p| format!("{}\n    {}", p.sql, p.error)).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
    println!("{} texts", texts.len());
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("can be read").path());
    let mut out: Vec<_> =
        paths.filter(|path| path.is_dir() || path.extension().is_some_and(|e| e == extension)).collect();
    out.sort();
    out
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let found = files(folder, "rs").into_iter();
    found.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The migrations of a crate, as its own macro would compile them in.
fn migrations(folder: &Path) -> &'static [(&'static str, &'static str)] {
    let read = |path: PathBuf| {
        let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
        (leak(name), leak(std::fs::read_to_string(&path).expect("can be read")))
    };
    Box::leak(files(folder, "sql").into_iter().filter(|path| path.is_file()).map(read).collect())
}

/// A test's texts live as long as its process, as a program's do.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// The string literals that begin like a statement, but those of a `Sql` for SQLite. None of them holds an escaped quote.
fn statements(file: &Path) -> Vec<&'static str> {
    let source = std::fs::read_to_string(file).expect("can be read");
    let begins = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH "];
    let literals = begins.iter().flat_map(|word| {
        let opening = format!("\"{word}");
        let ours = |at: &usize| !source[..*at].trim_end().ends_with("sqlite:");
        let places: Vec<usize> =
            source.match_indices(&opening).map(|(at, _)| at).filter(ours).map(|at| at + 1).collect();
        places.into_iter().map(|at| source[at..].split('"').next().unwrap_or_default().to_owned())
    });
    literals.map(|text| leak(text.replace("\\\n", " "))).collect()
}
