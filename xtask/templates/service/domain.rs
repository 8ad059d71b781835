//! What makes a note: plain decisions over their arguments.

use artel_contract::@name@::{AddNote, Note, NoteId};
use artel_message::{Fault, Time};

/// The note that a command asks for; its text loses the space around it and has 1 to `most_chars` characters.
pub fn note(command: &AddNote, id: NoteId, now: Time, most_chars: usize) -> Result<Note, Fault> {
    let text = command.text.trim();
    match text.chars().count() {
        0 => Err(Fault::field("text", "is empty; write something")),
        n if n > most_chars => Err(Fault::field("text", format!("has {n} characters; {most_chars} is the most"))),
        _ => Ok(Note { id, text: text.to_owned(), added_at: now }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artel_message::Code;

    fn check(text: &str) -> Result<Note, Fault> {
        let id = "0198c2f4-5a10-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        note(&AddNote { text: text.to_owned() }, id, Time::from_millis(1), 5)
    }

    #[test]
    fn a_note_has_text_without_space_around_it() {
        assert_eq!(check(" hello\n").unwrap().text, "hello");
        assert_eq!(check(" \n").unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn a_long_note_is_refused_with_both_numbers() {
        assert_eq!(check("hello!").unwrap_err().reason, "text: has 6 characters; 5 is the most");
    }
}
