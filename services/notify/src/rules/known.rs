//! Rules that are kept as they were read: a version never changes.

use crate::domain::rules::Rule;
use artel_flow::Tx;
use artel_message::Fault;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Beyond that all are read anew.
const MOST: usize = 10_000;

/// The rules of this node.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<(String, u32), Arc<Rule>>>);

impl Known {
    /// A version of a rule; `None` = there is none.
    pub async fn rule(&self, tx: &mut Tx, id: &str, version: u32) -> Result<Option<Arc<Rule>>, Fault> {
        let key = (id.to_owned(), version);
        if let Some(rule) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Some(rule.clone()));
        }
        let Some(body) = crate::store::rules::body(tx, id, version).await? else { return Ok(None) };
        let rule = Arc::new(super::rule(id, version, &body)?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        Ok(Some(known.entry(key).or_insert(rule).clone()))
    }
}
