//! Writes of this node that have not been answered in time. Until they are, nobody here reads their keys.

use crate::CacheError;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Doubt(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// How many writes of a key are under way beyond their time on the present connection. There are few of them: calls
    /// are refused once some were late.
    keys: HashMap<String, u32>,
    /// Which connection is the present one.
    era: u64,
    /// How often writes were lost.
    lost: u64,
    /// As it was when the generation was last renewed.
    renewed: u64,
}

impl Doubt {
    /// False when the write's connection has been given up.
    pub(super) fn begin(&self, key: &str, era: u64) -> bool {
        let mut inner = self.lock();
        let present = inner.era == era;
        if present {
            *inner.keys.entry(key.to_owned()).or_default() += 1;
        }
        present
    }

    pub(super) fn is_present(&self, era: u64) -> bool {
        self.lock().era == era
    }

    pub(super) fn end(&self, key: &str, era: u64) {
        let mut inner = self.lock();
        if inner.era == era
            && let Some(count) = inner.keys.get_mut(key)
        {
            *count -= 1;
            if *count == 0 {
                inner.keys.remove(key);
            }
        }
    }

    /// Gives the present connection up with all that is under way on it; gives the era of the next.
    pub(super) fn abandon(&self) -> u64 {
        let mut inner = self.lock();
        inner.era += 1;
        if !inner.keys.is_empty() {
            inner.keys.clear();
            inner.lost += 1;
        }
        inner.era
    }

    /// Refuses a key whose last write may have been done or not.
    pub(super) fn check(&self, key: &str) -> Result<(), CacheError> {
        if self.lock().keys.contains_key(key) {
            let reason = "redis has not answered a write of this key yet".to_owned();
            return Err(CacheError::Unavailable { reason });
        }
        Ok(())
    }

    pub(super) fn lose(&self) {
        self.lock().lost += 1;
    }

    /// The number of losses if the generation has to be renewed because of them.
    pub(super) fn to_renew(&self) -> Option<u64> {
        let inner = self.lock();
        (inner.lost > inner.renewed).then_some(inner.lost)
    }

    /// The generation was renewed after `lost` losses; those since then ask for another renewal.
    pub(super) fn renewed(&self, lost: u64) {
        self.lock().renewed = lost;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
