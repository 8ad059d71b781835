//! Routes: a handler parses, asks the mediator, answers.

use artel_contract::@name@::{AddNote, FindNote, Note, NoteId};
use artel_flow::{Asked, Ctx};
use artel_frame::edge::{IdempotencyKey, Json, Needs, Path, Problem, Produce, Read, Routes};
use artel_message::Code;
use axum::extract::State;
use axum::http::StatusCode;

pub fn routes(ctx: &Ctx) -> Routes {
    Routes::new()
        .post("/api/@name@/notes", add, |op| {
            op.summary("Add a note").answers::<Note>(201, "the note").refuses(&[Code::Conflict])
        })
        .get("/api/@name@/notes/{id}", find, |op| {
            op.summary("Read a note").answers::<Note>(200, "the note").refuses(&[Code::NotFound])
        })
        .with_state(ctx.clone())
}

async fn add(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    key: IdempotencyKey,
    Json(command): Json<AddNote>,
) -> Result<(StatusCode, Json<Note>), Problem> {
    let asked = Asked::by(&*caller.name).key(key.0);
    let note = ctx.ask_as(command, asked).await?;
    Ok((StatusCode::CREATED, Json(note)))
}

async fn find(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(note): Path<NoteId>,
) -> Result<Json<Note>, Problem> {
    Ok(Json(ctx.query(FindNote { note }).await?))
}
