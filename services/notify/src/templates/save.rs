//! Commands and queries about templates.

use super::checked::Checked;
use super::{current, no_such, shipped, version};
use crate::recipients::subscribers::{PAGE, next_rev, page};
use crate::store::templates::{self as store, Head, Version};
use artel_contract::notify::templates::{
    GetTemplate, ListTemplates, PutTemplate, RemoveTemplate, SavedTemplate, TemplateSummary, TemplateVersion,
};
use artel_flow::{Read, Tx};
use artel_message::{Cursor, Fault, Page, Time};
use std::collections::BTreeSet;

pub async fn put(checked: &Checked, tx: &mut Tx, command: PutTemplate) -> Result<SavedTemplate, Fault> {
    let PutTemplate { template: id, body, by, expected } = command;
    let head = head(tx, &id).await?;
    let stored = Some(u64::from(head.version)).filter(|version| *version > 0);
    next_rev(&format!("template '{id}'"), stored, expected)?;
    let latest = head.latest + 1;
    checked.check(id.clone(), body.clone()).await?;
    let channels = super::template(&id, latest, &body)?.channels();
    crate::rules::fits_template(tx, &id, &channels).await?;
    store::save(tx, &id, latest, &body, &by).await?;
    store::point(tx, &id, Head { version: latest, latest }).await?;
    let checked = body.message.is_some() || body.schema.is_some();
    Ok(SavedTemplate { version: latest, created: stored.is_none(), checked })
}

/// Which version is sent, and the last number that was given; those that came with the program count.
async fn head(tx: &mut Tx, id: &str) -> Result<Head, Fault> {
    let mut heads = store::heads(tx, &BTreeSet::from([id])).await?;
    let came = shipped::of(id).map_or(0, |shipped| shipped.version);
    Ok(heads.remove(id).unwrap_or(Head { version: came, latest: came }))
}

pub async fn remove(tx: &mut Tx, command: RemoveTemplate) -> Result<(), Fault> {
    let RemoveTemplate { template: id, by, expected } = command;
    let head = head(tx, &id).await?;
    if head.version == 0 {
        return Err(no_such(&id));
    }
    next_rev(&format!("template '{id}'"), Some(u64::from(head.version)), expected)?;
    let came = shipped::of(&id);
    if came.as_ref().is_some_and(|came| came.version == head.version) {
        return Err(Fault::conflict(format!(
            "template '{id}' came with the program; save another text for it instead"
        )));
    }
    let left = match &came {
        Some(came) => super::template(&id, came.version, &came.body)?.channels(),
        None => Vec::new(),
    };
    crate::rules::fits_template(tx, &id, &left).await?;
    let version = came.map_or(0, |came| came.version);
    store::point(tx, &id, Head { version, ..head }).await?;
    tracing::info!(template = %id, %by, "a template was taken away");
    Ok(())
}

pub async fn get(mut read: &Read, query: GetTemplate) -> Result<TemplateVersion, Fault> {
    let id = query.template;
    let sent = current(&mut read, &BTreeSet::from([id.as_str()])).await?.remove(&id);
    let wanted = query.version.or(sent).ok_or_else(|| no_such(&id))?;
    let found = version(&mut read, &id, wanted).await?;
    let found = found.ok_or_else(|| match query.version {
        Some(version) => Fault::not_found(format!("template '{id}' has no version {version}")),
        None => no_such(&id),
    })?;
    let shipped = is_shipped(&found);
    let Version { id, version, body, saved_at, saved_by } = found;
    Ok(TemplateVersion {
        id,
        version,
        current: sent == Some(version),
        shipped,
        body,
        saved_at: (!shipped).then_some(saved_at),
        saved_by: (!shipped).then_some(saved_by),
    })
}

fn is_shipped(version: &Version) -> bool {
    version.saved_at == Time::MIN
}

/// Templates that are in memory at once while they are listed: each has up to as many bytes as a request.
const AT_ONCE: usize = 5;

pub async fn list(read: &Read, query: ListTemplates) -> Result<Page<TemplateSummary>, Fault> {
    let limit = query.limit.unwrap_or(PAGE) as usize;
    match query.versions_of {
        Some(id) => {
            let before = query.cursor.map(|text| Cursor(text).key::<u32>()).transpose()?.unwrap_or(u32::MAX);
            let mut found = versions(read, &id, before, limit + 1).await?;
            found.extend(shipped::of(&id).filter(|came| came.version < before).as_ref().map(summary));
            Ok(page(found, limit, |one| Cursor::of(&one.version)))
        }
        None => {
            let after =
                query.cursor.map(|text| Cursor(text).key::<String>()).transpose()?.unwrap_or_default();
            let found = sent(read, &after, limit + 1).await?;
            Ok(page(found, limit, |one| Cursor::of(&one.id)))
        }
    }
}

/// Saved versions of one, the latest first.
async fn versions(
    mut read: &Read,
    id: &str,
    before: u32,
    most: usize,
) -> Result<Vec<TemplateSummary>, Fault> {
    let mut found: Vec<TemplateSummary> = Vec::new();
    loop {
        let before = found.last().map_or(before, |last| last.version);
        let part = store::versions(&mut read, id, before, AT_ONCE).await?;
        found.extend(part.iter().map(summary));
        if part.len() < AT_ONCE || found.len() >= most {
            return Ok(found);
        }
    }
}

/// What is sent, by id behind `after`: saved, or as it came with the program.
async fn sent(mut read: &Read, after: &str, most: usize) -> Result<Vec<TemplateSummary>, Fault> {
    let mut found: Vec<TemplateSummary> = Vec::new();
    loop {
        let last = found.last().map_or(after, |last| last.id.as_str());
        let part = store::list(&mut read, last, AT_ONCE).await?;
        found.extend(part.iter().map(summary));
        if part.len() < AT_ONCE || found.len() >= most {
            break;
        }
    }
    for id in shipped::ALL.into_iter().filter(|id| *id > after) {
        let sent = current(&mut read, &BTreeSet::from([id])).await?.remove(id);
        let came = shipped::of(id).filter(|came| sent == Some(came.version));
        if let Some(came) = came.filter(|_| !found.iter().any(|saved| saved.id == id)) {
            found.push(summary(&came));
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

fn summary(version: &Version) -> TemplateSummary {
    let Version { id, body, saved_at, saved_by, .. } = version;
    let shipped = is_shipped(version);
    let channels = super::template(id, version.version, body).map(|template| template.channels());
    TemplateSummary {
        id: id.clone(),
        version: version.version,
        shipped,
        languages: body.languages.keys().cloned().collect(),
        channels: channels.unwrap_or_default(),
        saved_at: (!shipped).then_some(*saved_at),
        saved_by: (!shipped).then(|| saved_by.clone()),
    }
}
