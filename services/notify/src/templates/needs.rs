//! What whoever sends a template has to give, kept for each version: it never changes.

use super::{check, current, template, version};
use crate::domain::templates::Fields;
use artel_contract::notify::Channel;
use artel_flow::Tx;
use artel_message::Fault;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Beyond that all are worked out anew.
const MOST: usize = 1_000;

/// Of one version of a template.
#[derive(Debug)]
pub struct Needed {
    /// That the default language has texts for.
    pub channels: Vec<Channel>,
    /// `None` where the template does not say what fills it.
    fields: Option<Fields>,
}

impl Needed {
    /// Holds data against what the template says of them.
    pub fn check(&self, channels: &[Channel], data: &Value) -> Result<(), Fault> {
        match self.fields.as_ref().and_then(|fields| fields.misfit(channels, data)) {
            None => Ok(()),
            Some((field, reason)) => {
                Err(Fault::field(&format!("content.data.{field}"), format!("{reason}; the template uses it")))
            }
        }
    }
}

/// What is needed for the templates that were sent on this node.
#[derive(Debug, Default)]
pub struct Needs(Mutex<HashMap<(String, u32), Arc<Needed>>>);

impl Needs {
    /// Of the version that is sent; `None` = there is no such template.
    pub async fn of(&self, tx: &mut Tx, id: &str) -> Result<Option<Arc<Needed>>, Fault> {
        let Some(number) = current(tx, &BTreeSet::from([id])).await?.remove(id) else { return Ok(None) };
        let key = (id.to_owned(), number);
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Some(known.clone()));
        }
        let Some(found) = version(tx, id, number).await? else { return Ok(None) };
        let template = template(id, number, &found.body)?;
        // A message that the platform has no more says nothing.
        let schema = check::schema(&found.body).unwrap_or_default();
        let fields = schema.map(|schema| Fields::new(&template, schema));
        let needed = Arc::new(Needed { channels: template.channels(), fields });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        Ok(Some(known.entry(key).or_insert(needed).clone()))
    }
}
