//! Templates that are kept compiled, each version once.

use super::check::{blocking, refused};
use super::{no_such, template, version};
use crate::domain::templates::{Bounds, Compiled};
use artel_flow::Ctx;
use artel_message::Fault;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled templates of this node. A version never changes, so nothing in here is ever old.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<HashMap<(String, u32), Arc<Compiled>>>);

impl Shelf {
    /// A version of a template; of more than `most` all are compiled anew.
    pub async fn get(&self, ctx: &Ctx, id: &str, number: u32, most: usize) -> Result<Arc<Compiled>, Fault> {
        let key = (id.to_owned(), number);
        if let Some(kept) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(kept.clone());
        }
        let read = ctx.read().await?;
        let found = version(&mut &read, id, number).await?.ok_or_else(|| no_such(id))?;
        let template = template(id, number, &found.body)?;
        drop(read);
        let compiled = blocking(move || {
            Compiled::new(template, Bounds::default()).map_err(|problems| refused(&problems))
        })
        .await?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= most.max(1) {
            kept.clear();
        }
        Ok(kept.entry(key).or_insert(Arc::new(compiled)).clone())
    }
}
