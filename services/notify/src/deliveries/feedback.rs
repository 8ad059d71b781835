//! What answers say of addresses: one that is bad is not written to any more, one that works has no bounces in a row.

use super::effects::Attempted;
use super::steps::Stepped;
use crate::domain::address::Address;
use crate::domain::classes::{Guard, GuardSettings, Over, Removal, Verdict};
use crate::domain::state::Answer;
use crate::domain::suppression::{Reason, SoftPolicy};
use crate::store::suppression::{self, Entry};
use artel_contract::notify::DeliveryId;
use artel_flow::Tx;
use artel_message::{Fault, Time};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// An answer, as far as it is about the address.
#[derive(Debug)]
pub struct Heard {
    delivery: DeliveryId,
    leg: usize,
    account: String,
    suppress: Option<Reason>,
    soft: bool,
    taken: bool,
}

impl Heard {
    pub fn of(delivery: DeliveryId, leg: u32, attempted: &Attempted) -> Heard {
        let verdict = attempted.verdict.as_ref();
        Heard {
            delivery,
            leg: leg as usize,
            account: attempted.account.clone(),
            suppress: verdict.and_then(|verdict| verdict.suppress),
            soft: verdict.is_some_and(|verdict| verdict.soft),
            taken: matches!(attempted.answer, Answer::Taken { .. }),
        }
    }

    /// What a provider told of a message later.
    pub fn told(delivery: DeliveryId, leg: usize, account: &str, verdict: &Verdict) -> Heard {
        let Verdict { suppress, soft, .. } = *verdict;
        Heard { delivery, leg, account: account.to_owned(), suppress, soft, taken: false }
    }
}

/// A guard for each account that sends push messages. A node has its own: it is about what comes suddenly.
#[derive(Debug, Default)]
pub struct Guards(Mutex<HashMap<String, Guard>>);

impl Guards {
    /// Counts an answer; whether the token that it is about is to be removed.
    fn removes(&self, account: &str, refused: bool, now: Time) -> bool {
        let mut guards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = guards.entry(account.to_owned()).or_insert_with(|| Guard::new(GuardSettings::default()));
        if !refused {
            if let Some(Over { since, kept }) = guard.other(now) {
                tracing::info!(account, %since, kept, "push tokens that are refused are removed again");
            }
            return false;
        }
        match guard.refused(now) {
            Removal::Remove => true,
            Removal::Alarm => {
                tracing::error!(
                    account,
                    "so many push tokens are refused at once that none is removed any more; look whether the account is the right one"
                );
                false
            }
            Removal::Keep => false,
        }
    }
}

/// Takes to heart what was heard of addresses, after the steps that it led to.
pub async fn learn(tx: &mut Tx, guards: &Guards, stepped: &[Stepped], all: Vec<Heard>) -> Result<(), Fault> {
    let now = tx.now();
    let of: BTreeMap<DeliveryId, &Stepped> = stepped.iter().map(|one| (one.stored.id, one)).collect();
    let (mut bad, mut worked): (Vec<Entry>, Vec<&Address>) = (Vec::new(), Vec::new());
    let mut soft: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for heard in all {
        let address = of.get(&heard.delivery).and_then(|one| one.stored.content.address(heard.leg));
        let Some(address) = address else { continue };
        match address {
            Address::Fcm(_) | Address::WebPush(_) => {
                let refused = heard.suppress.filter(|reason| reason.removes_token());
                if guards.removes(&heard.account, refused.is_some(), now)
                    && let Some(reason) = refused
                {
                    bad.push(Entry::of(address, reason, &heard.account));
                }
            }
            Address::Email(_) | Address::Phone(_) => match heard.suppress {
                Some(reason) => bad.push(Entry::of(address, reason, &heard.account)),
                None if heard.soft => soft.entry(heard.account).or_default().push(address.clone()),
                None if heard.taken => worked.push(address),
                None => {}
            },
        }
    }
    if !bad.is_empty() {
        suppression::add(tx, &bad).await?;
    }
    for (account, addresses) in soft {
        suppression::soft_bounced(tx, &addresses, &account, SoftPolicy::default()).await?;
    }
    if !worked.is_empty() && suppression::any_soft(tx).await? {
        suppression::worked(tx, worked.into_iter().map(crate::recipients::convert::hash)).await?;
    }
    Ok(())
}
