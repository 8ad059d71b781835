//! Commands and queries: load, decide, save, publish.

use crate::config::Config;
use crate::{domain, store};
use artel_contract::@name@::{AddNote, FindNote, Note, NoteAdded};
use artel_flow::{Read, Tx};
use artel_message::{Fault, Id};

pub async fn add_note(tx: &mut Tx, command: AddNote) -> Result<Note, Fault> {
    let most_chars = tx.settings::<Config>().most_chars;
    let note = domain::note(&command, Id::from_uuid(tx.new_id()), tx.now(), most_chars)?;
    store::insert(tx, &note).await?;
    tx.publish(NoteAdded { note: note.id, at: note.added_at });
    Ok(note)
}

pub async fn find_note(read: &Read, query: FindNote) -> Result<Note, Fault> {
    store::find(read, query.note)
        .await?
        .ok_or_else(|| Fault::not_found(format!("no note has the id {}", query.note)))
}
