//! Whether a template can be sent, before it is saved.

use super::template;
use crate::domain::templates::{Bounds, Compiled, Problem};
use artel_contract::notify::templates as wire;
use artel_contract::notify::templates::TemplateBody;
use artel_message::{Fault, Kind};
use serde_json::{Value, json};

/// The JSON Schema of a message of the platform.
pub fn schema_of(message: &str) -> Option<Value> {
    let all = artel_contract::catalogue();
    let found = all.iter().find(|known| known.kind == Kind::Event && known.name == message)?;
    Some((found.schema)().to_value())
}

/// What a template is filled from, where it says so.
pub fn schema(body: &TemplateBody) -> Result<Option<Value>, Fault> {
    match (&body.message, &body.schema) {
        (_, Some(schema)) if schema.is_object() => Ok(Some(schema.clone())),
        (_, Some(_)) => Err(Fault::field("schema", "is no JSON Schema: it begins with a brace")),
        (Some(message), None) => schema_of(message).map(Some).ok_or_else(|| {
            let short: String = message.chars().take(60).collect();
            Fault::field(
                "message",
                format!("'{short}' is no event of this platform; give its JSON Schema as 'schema'"),
            )
        }),
        (None, None) => Ok(None),
    }
}

/// A template that was compiled, and what is wrong with it; it can be filled all the same.
pub fn compiled(id: &str, version: u32, body: &TemplateBody) -> Result<(Compiled, Vec<Problem>), Fault> {
    let schema = schema(body)?;
    let made = Compiled::new(template(id, version, body)?, Bounds::default());
    let compiled = made.map_err(|problems| refused(&problems))?;
    let problems = schema.map(|schema| compiled.check(&schema)).unwrap_or_default();
    Ok((compiled, problems))
}

/// Runs what takes a while where nobody waits behind it.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Fault::internal("a template could not be worked on")))
}

pub fn shown(problem: &Problem) -> wire::Problem {
    wire::Problem {
        field: problem.part.clone(),
        line: u32::try_from(problem.line).ok().filter(|line| *line > 0),
        reason: problem.reason.clone(),
    }
}

/// All that is wrong, the first of it in the sentence.
pub fn refused(problems: &[Problem]) -> Fault {
    let Some(first) = problems.first() else { return Fault::internal("a refusal without a reason") };
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let all: Vec<wire::Problem> = problems.iter().map(shown).collect();
    Fault::invalid(format!("{first}{more}")).with(json!({ "field": first.part, "problems": all }))
}
