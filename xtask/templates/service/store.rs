//! The table `note`: every SQL text of this service, each beside the function that runs it.

use artel_contract::@name@::{Note, NoteId};
use artel_flow::{Read, Tx};
use artel_store::StoreError;

const INSERT: &str = "INSERT INTO note (id, text, added_at) VALUES ($1, $2, $3)";

pub async fn insert(tx: &mut Tx, note: &Note) -> Result<(), StoreError> {
    tx.exec(INSERT, (note.id, note.text.as_str(), note.added_at)).await?;
    Ok(())
}

const FIND: &str = "SELECT id, text, added_at FROM note WHERE id = $1";

pub async fn find(read: &Read, id: NoteId) -> Result<Option<Note>, StoreError> {
    let row = read.opt(FIND, (id,)).await?;
    Ok(row.map(|(id, text, added_at)| Note { id, text, added_at }))
}
