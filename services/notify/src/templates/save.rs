//! Commands and queries about templates.

use super::{check, current, no_such, shipped, version};
use crate::recipients::subscribers::{PAGE, next_rev, page};
use crate::store::templates::{self as store, Head, Version};
use artel_contract::notify::templates::{
    GetTemplate, ListTemplates, PutTemplate, RemoveTemplate, SavedTemplate, TemplateSummary, TemplateVersion,
};
use artel_flow::{Read, Tx};
use artel_message::{Cursor, Fault, Page, Time};
use std::collections::BTreeSet;

pub async fn put(tx: &mut Tx, command: PutTemplate) -> Result<SavedTemplate, Fault> {
    let PutTemplate { template: id, body, by, expected } = command;
    let head = head(tx, &id).await?;
    let stored = Some(u64::from(head.version)).filter(|version| *version > 0);
    next_rev(&format!("template '{id}'"), stored, expected)?;
    let latest = head.latest + 1;
    let (compiled, problems) = check::compiled(&id, latest, &body)?;
    if !problems.is_empty() {
        return Err(check::refused(&problems));
    }
    crate::rules::fits_template(tx, &id, &compiled.template().channels()).await?;
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

pub async fn list(mut read: &Read, query: ListTemplates) -> Result<Page<TemplateSummary>, Fault> {
    let limit = query.limit.unwrap_or(PAGE) as usize;
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    match query.versions_of {
        Some(id) => {
            let before = query.cursor.map(|text| Cursor(text).key::<u32>()).transpose()?.unwrap_or(u32::MAX);
            let mut found = store::versions(&mut read, &id, before, most).await?;
            found.extend(shipped::of(&id).filter(|came| came.version < before));
            Ok(page(found.iter().map(summary).collect(), limit, |one| Cursor::of(&one.version)))
        }
        None => {
            let after =
                query.cursor.map(|text| Cursor(text).key::<String>()).transpose()?.unwrap_or_default();
            let mut found = store::list(&mut read, &after, most).await?;
            let unchanged = ALL_SHIPPED.iter().copied().filter(|id| *id > after.as_str());
            for id in unchanged.filter(|id| !found.iter().any(|saved| saved.id == *id)).collect::<Vec<_>>() {
                let sent = current(&mut read, &BTreeSet::from([id])).await?.remove(id);
                found.extend(shipped::of(id).filter(|came| sent == Some(came.version)));
            }
            found.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(page(found.iter().map(summary).collect(), limit, |one| Cursor::of(&one.id)))
        }
    }
}

const ALL_SHIPPED: [&str; 1] = shipped::ALL;

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
