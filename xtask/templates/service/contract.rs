//! `@name@` keeps notes.

use artel_message::{Command, Event, Id, Query, Tag, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a [`NoteId`] identifies.
#[derive(Debug)]
pub enum NoteTag {}
impl Tag for NoteTag {
    const NAME: &'static str = "Note";
}

pub type NoteId = Id<NoteTag>;

/// Adds a note.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "@name@.add-note", reply = Note)]
pub struct AddNote {
    pub text: String,
}

/// Reads a note.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "@name@.find-note", reply = Note)]
pub struct FindNote {
    pub note: NoteId,
}

/// A note as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    pub id: NoteId,
    pub text: String,
    pub added_at: Time,
}

/// A note was added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "@name@.note-added", topic = "@name@.note", key = note)]
pub struct NoteAdded {
    pub note: NoteId,
    pub at: Time,
}
