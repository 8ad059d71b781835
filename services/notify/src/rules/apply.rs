//! Rules of a file.

use super::save::{save, take_away};
use crate::store::rules as store;
use artel_contract::notify::rules::{AppliedRules, ApplyRules, RuleOfFile};
use artel_flow::Tx;
use artel_message::Fault;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

pub async fn apply(tx: &mut Tx, command: ApplyRules) -> Result<AppliedRules, Fault> {
    let ApplyRules { source, rules, by } = command;
    let (mut applied, mut named) = (AppliedRules::default(), BTreeSet::new());
    for (at, rule) in rules.iter().enumerate() {
        if !named.insert(rule.id.as_str()) {
            return Err(Fault::field(
                &format!("rules[{at}].id"),
                format!("'{}' stands there twice", rule.id),
            ));
        }
        let changed = one(tx, &source, &by, rule).await.map_err(|fault| within(fault, at, &rule.id))?;
        if changed {
            applied.saved.push(rule.id.clone());
        }
    }
    for head in store::of_source(tx, &source).await? {
        if !head.removed && !named.contains(head.id.as_str()) {
            applied.removed.push(head.id.clone());
            take_away(tx, head).await?;
        }
    }
    Ok(applied)
}

/// Saves a rule where the file says something else than when it was last applied.
async fn one(tx: &mut Tx, source: &str, by: &str, rule: &RuleOfFile) -> Result<bool, Fault> {
    let hash = hash(rule)?;
    let head = store::head(tx, &rule.id).await?;
    if let Some(head) = &head {
        if head.source.as_deref().is_some_and(|own| own != source) || (head.source.is_none() && !head.removed)
        {
            let own = head.source.as_deref().unwrap_or("by hand");
            return Err(Fault::conflict(format!(
                "is there already, from elsewhere ({own}); take another id"
            )));
        }
        if head.source.is_some() && head.file_hash.as_deref() == Some(hash.as_str()) {
            return Ok(false);
        }
    }
    save(tx, &rule.id, &rule.body, by, head, Some((source, &hash))).await?;
    Ok(true)
}

/// A fault of one rule, with its place among them.
fn within(fault: Fault, at: usize, id: &str) -> Fault {
    Fault { reason: format!("rules[{at}] ('{id}'): {}", fault.reason), ..fault }
}

/// SHA-256 of what the file says, in hex.
fn hash(rule: &RuleOfFile) -> Result<String, Fault> {
    let text = serde_json::to_vec(rule).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect())
}
