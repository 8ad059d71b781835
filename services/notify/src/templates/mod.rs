//! Templates as they are kept: versions, checked when saved, previewed.

mod check;
mod checked;
mod needs;
mod preview;
mod save;
mod shelf;
mod shipped;

pub use checked::CheckTemplate;
pub use needs::{Needed, Needs};
pub use preview::example;
pub use shelf::Shelf;

use crate::domain::templates::Template;
use crate::store::rows::Rows;
use crate::store::templates::{self as store, Version};
use artel_contract::notify::templates::TemplateBody;
use artel_flow::Service;
use artel_message::Fault;
use artel_store::StoreError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use check::schema_of;

/// Takes in what is said about templates.
pub fn register(service: Service) -> Service {
    let checked = Arc::default();
    service
        .command(checked::put(&checked))
        .query(checked::asked(&checked))
        .command(save::remove)
        .query(save::get)
        .query(save::list)
        .query(preview::preview)
}

/// Which version is sent of each of these templates; those that there are not are left out.
pub async fn current(
    rows: &mut impl Rows,
    wanted: &BTreeSet<&str>,
) -> Result<BTreeMap<String, u32>, StoreError> {
    let heads = store::heads(rows, wanted).await?;
    let of = |id: &&str| match heads.get(*id) {
        Some(head) => Some(head.version).filter(|version| *version > 0),
        None => shipped::of(id).map(|shipped| shipped.version),
    };
    Ok(wanted.iter().filter_map(|id| Some(((*id).to_owned(), of(id)?))).collect())
}

/// A version of a template as it was saved, or as it came with the program.
pub async fn version(rows: &mut impl Rows, id: &str, version: u32) -> Result<Option<Version>, StoreError> {
    match shipped::of(id).filter(|shipped| shipped.version == version) {
        Some(shipped) => Ok(Some(shipped)),
        None => store::version(rows, id, version).await,
    }
}

/// A template in the words of the decisions.
pub(crate) fn template(id: &str, version: u32, body: &TemplateBody) -> Result<Template, Fault> {
    let TemplateBody { default_language, languages, .. } = body;
    crate::recipients::convert::same(
        "",
        &serde_json::json!({
            "id": id, "version": version, "default_language": default_language, "languages": languages,
        }),
    )
}

pub(crate) fn no_such(id: &str) -> Fault {
    let id: String = id.chars().take(60).collect();
    Fault::not_found(format!("there is no template '{id}'"))
}
