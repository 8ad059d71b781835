//! Faults by plan: shares of them for each provider, and rules for addresses. A plan with the same seed gives the same faults for
//! the same order of arrivals.

mod check;
mod draw;
mod plan;

pub use check::BadPlan;
pub use plan::{AddressRule, Answered, FaultPlan, Latency, ReceiptKind, ReceiptShares, Share, Shares};

use super::{Arrival, Behaviour, Judge};
use draw::Draw;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The plan in force; clones share it.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<State>>);

struct State {
    plan: FaultPlan,
    /// How many arrived since the plan is in force, by provider.
    arrived: BTreeMap<&'static str, u64>,
    /// How often a rule with `times` was used for an address.
    used: HashMap<(usize, String), u32>,
}

/// Addresses that are counted for rules with `times`; beyond them counting begins anew.
const MOST_USED: usize = 10_000;

impl Faults {
    pub fn new(plan: FaultPlan) -> Result<Faults, BadPlan> {
        plan.check()?;
        Ok(Faults(Arc::new(Mutex::new(State { plan, arrived: BTreeMap::new(), used: HashMap::new() }))))
    }

    pub fn plan(&self) -> FaultPlan {
        self.state().plan.clone()
    }

    /// Counting begins anew with it, also where it is the same plan.
    pub fn set(&self, plan: FaultPlan) -> Result<(), BadPlan> {
        plan.check()?;
        *self.state() = State { plan, arrived: BTreeMap::new(), used: HashMap::new() };
        Ok(())
    }

    /// For the simulators; it goes by the plan that is in force at the moment.
    pub fn judge(&self) -> Judge {
        let own = self.clone();
        Arc::new(move |arrival| own.state().judge(arrival))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge(&mut self, arrival: &Arrival) -> Behaviour {
        let n = self.arrived.entry(arrival.provider).or_default();
        *n += 1;
        let mut draw = Draw::new(self.plan.seed, arrival.provider, *n);
        if let Some(rule) = self.rule(arrival) {
            return rule;
        }
        let none = Shares::default();
        self.plan.providers.get(arrival.provider).unwrap_or(&none).behave(&mut draw)
    }

    /// What the first rule says that fits and is not used up.
    fn rule(&mut self, arrival: &Arrival) -> Option<Behaviour> {
        let mut rules = self.plan.addresses.iter().enumerate().filter(|(_, rule)| rule.fits(arrival));
        let (_, rule) = rules.find(|(at, rule)| match rule.times {
            None => true,
            Some(times) => {
                if self.used.len() >= MOST_USED {
                    self.used.clear();
                }
                let used = self.used.entry((*at, arrival.to.clone())).or_default();
                *used = used.saturating_add(1);
                *used <= times
            }
        })?;
        Some(Behaviour {
            delay: Duration::from_millis(rule.delay_ms),
            refusal: rule.refusal.as_ref().map(Answered::refusal),
            lose_reply: rule.lose_reply,
            receipts: match rule.receipt {
                None => Behaviour::good().receipts,
                Some(kind) => ReceiptShares::default().of(Some(kind)),
            },
        })
    }
}

impl AddressRule {
    fn fits(&self, arrival: &Arrival) -> bool {
        self.provider.as_deref().is_none_or(|provider| provider == arrival.provider)
            && arrival.to.starts_with(&self.begins)
            && arrival.to.ends_with(&self.ends)
    }
}

impl Shares {
    /// Draws in a fixed order and always all, so that one share does not move what another one draws.
    fn behave(&self, draw: &mut Draw) -> Behaviour {
        let (refused, lost, slow) = (draw.percent(), draw.percent(), draw.percent());
        let (how_slow, kind) = (draw.percent(), draw.percent());
        let (duplicate, late) = (draw.percent(), draw.percent());
        let mut sum = 0.0;
        let refusal = self.refusals.iter().find(|share| {
            sum += share.percent;
            refused < sum
        });
        let delay = match &self.latency {
            latency if slow < latency.percent => {
                let span = latency.most_ms.saturating_sub(latency.least_ms) as f64;
                Duration::from_millis(latency.least_ms + (span * how_slow / 100.0) as u64)
            }
            _ => Duration::ZERO,
        };
        let mut receipts = self.receipts.of(self.receipts.drawn(kind));
        if late < self.receipts.late {
            receipts.iter_mut().for_each(|(after, _)| *after = Duration::from_millis(self.receipts.late_ms));
        }
        if duplicate < self.receipts.duplicate {
            receipts.extend(receipts.clone());
        }
        Behaviour {
            delay,
            refusal: refusal.map(|share| share.answer.refusal()),
            lose_reply: lost < self.lost_replies,
            receipts,
        }
    }
}

#[cfg(test)]
mod tests;
