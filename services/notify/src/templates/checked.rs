//! What was found to be right, so that it is not compiled in the transaction that saves it: writers wait for each other.

use super::check::{blocking, compiled, refused};
use artel_contract::notify::templates::{PutTemplate, SavedTemplate, TemplateBody};
use artel_flow::{Read, Tx};
use artel_message::{Fault, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// Beyond that all are compiled anew.
const MOST: usize = 1_000;

/// Finds out whether a template can be saved. Of this service's own routes only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.check-template", reply = ())]
pub struct CheckTemplate {
    pub template: String,
    pub body: TemplateBody,
}

/// Hashes of templates that nothing is wrong with.
#[derive(Debug, Default)]
pub struct Checked(Mutex<HashSet<[u8; 32]>>);

impl Checked {
    /// Compiles a template, unless that was done before.
    pub async fn check(&self, id: String, body: TemplateBody) -> Result<(), Fault> {
        let text = serde_json::to_vec(&(&id, &body)).map_err(|error| Fault::field("body", error))?;
        let hash: [u8; 32] = Sha256::digest(text).into();
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash) {
            return Ok(());
        }
        let problems = blocking(move || compiled(&id, 0, &body).map(|(_, problems)| problems)).await?;
        if !problems.is_empty() {
            return Err(refused(&problems));
        }
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= MOST {
            good.clear();
        }
        good.insert(hash);
        Ok(())
    }
}

type Work<'a, R> = Pin<Box<dyn Future<Output = Result<R, Fault>> + Send + 'a>>;

/// The handler of the question.
pub fn asked(
    checked: &Arc<Checked>,
) -> impl for<'a> Fn(&'a Read, CheckTemplate) -> Work<'a, ()> + Send + Sync + 'static {
    let checked = checked.clone();
    move |_: &Read, CheckTemplate { template, body }: CheckTemplate| {
        let checked = checked.clone();
        Box::pin(async move { checked.check(template, body).await })
    }
}

/// The handler of what saves one.
pub fn put(
    checked: &Arc<Checked>,
) -> impl for<'a> Fn(&'a mut Tx, PutTemplate) -> Work<'a, SavedTemplate> + Send + Sync + 'static {
    let checked = checked.clone();
    move |tx: &mut Tx, command: PutTemplate| {
        let checked = checked.clone();
        Box::pin(async move { super::save::put(&checked, tx, command).await })
    }
}
