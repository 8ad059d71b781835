//! Addresses that nothing is sent to, and why.

use super::address::Kind;
use artel_contract::notify::Lane;
use artel_message::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why an address is not written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The mailbox is not there.
    HardBounce,
    /// Several soft bounces in a row.
    SoftBounces,
    /// The recipient called it spam.
    Complaint,
    /// The recipient said stop.
    Unsubscribed,
    /// On a stop list at the provider that is our own.
    StopListed,
    BadNumber,
    NotMobile,
    TokenGone,
    TokenMalformed,
    /// The token is another app's.
    TokenForeign,
    /// Put there by a person.
    ByHand,
}

impl Reason {
    pub const ALL: [Reason; 11] = [
        Reason::HardBounce,
        Reason::SoftBounces,
        Reason::Complaint,
        Reason::Unsubscribed,
        Reason::StopListed,
        Reason::BadNumber,
        Reason::NotMobile,
        Reason::TokenGone,
        Reason::TokenMalformed,
        Reason::TokenForeign,
        Reason::ByHand,
    ];

    /// The name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::HardBounce => "hard_bounce",
            Reason::SoftBounces => "soft_bounces",
            Reason::Complaint => "complaint",
            Reason::Unsubscribed => "unsubscribed",
            Reason::StopListed => "stop_listed",
            Reason::BadNumber => "bad_number",
            Reason::NotMobile => "not_mobile",
            Reason::TokenGone => "token_gone",
            Reason::TokenMalformed => "token_malformed",
            Reason::TokenForeign => "token_foreign",
            Reason::ByHand => "by_hand",
        }
    }

    /// Whether it is about the person's will, and not about whether the address works.
    pub fn is_wish(self) -> bool {
        matches!(self, Reason::Complaint | Reason::Unsubscribed | Reason::StopListed | Reason::ByHand)
    }

    /// Whether it is about a push token: then the token is removed, and no list grows.
    pub fn removes_token(self) -> bool {
        matches!(self, Reason::TokenGone | Reason::TokenMalformed | Reason::TokenForeign)
    }

    /// Whether addresses of this kind can be suppressed for it.
    pub fn is_of(self, kind: Kind) -> bool {
        match self {
            Reason::HardBounce | Reason::SoftBounces => kind == Kind::Email,
            Reason::BadNumber | Reason::NotMobile => kind == Kind::Phone,
            Reason::Complaint | Reason::StopListed => matches!(kind, Kind::Email | Kind::Phone),
            Reason::TokenGone | Reason::TokenMalformed | Reason::TokenForeign => {
                matches!(kind, Kind::Fcm | Kind::WebPush)
            }
            Reason::Unsubscribed | Reason::ByHand => true,
        }
    }

    /// How long it holds. A wish holds until its owner takes it back, what has never worked does so too; a full mailbox
    /// or a number out of use may be given to somebody else one day.
    pub fn holds(self) -> Option<Duration> {
        const DAY: u64 = 86_400;
        match self {
            Reason::SoftBounces => Some(Duration::from_secs(14 * DAY)),
            Reason::HardBounce | Reason::BadNumber => Some(Duration::from_secs(365 * DAY)),
            _ => None,
        }
    }
}

/// An address on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    pub kind: Kind,
    pub reason: Reason,
    pub since: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Suppressed {
    pub fn new(kind: Kind, reason: Reason, now: Time) -> Suppressed {
        Suppressed { kind, reason, since: now, until: reason.holds().map(|time| now + time) }
    }

    /// Whether it keeps a message of this lane back. Nothing passes a wish but what is critical and about no wish: a critical one
    /// is sent to an address that has failed before, for it costs nothing and may work again; it is never sent against a stop.
    pub fn holds_back(&self, lane: Lane, now: Time) -> bool {
        let over = self.until.is_some_and(|until| until <= now);
        !over && (self.reason.is_wish() || lane != Lane::Critical)
    }
}

/// Soft bounces of one address in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftBounces {
    pub count: u32,
    pub first_at: Option<Time>,
}

/// When soft bounces make an address a bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftPolicy {
    pub most: u32,
    /// They have to lie apart at least this far in all: a mailbox is full for a day, a wrong address for ever.
    pub over: Duration,
}

impl Default for SoftPolicy {
    fn default() -> SoftPolicy {
        SoftPolicy { most: 5, over: Duration::from_secs(3 * 86_400) }
    }
}

impl SoftBounces {
    /// Counts one more; the reason where that is one too many.
    pub fn bounced(&mut self, policy: SoftPolicy, now: Time) -> Option<Reason> {
        let first = *self.first_at.get_or_insert(now);
        self.count = self.count.saturating_add(1);
        (self.count >= policy.most && now.since(first) >= policy.over).then_some(Reason::SoftBounces)
    }

    /// Something arrived: they were no row.
    pub fn worked(&mut self) {
        *self = SoftBounces::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: u64) -> Time {
        Time::from_millis(0) + Duration::from_secs(n * 86_400)
    }

    #[test]
    fn a_wish_holds_also_against_what_is_critical() {
        for reason in Reason::ALL {
            let suppressed = Suppressed::new(Kind::Email, reason, day(0));
            assert!(suppressed.holds_back(Lane::Bulk, day(1)), "{reason:?}");
            assert_eq!(suppressed.holds_back(Lane::Critical, day(1)), reason.is_wish(), "{reason:?}");
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }

    #[test]
    fn what_may_work_again_is_tried_again_one_day() {
        let bounced = Suppressed::new(Kind::Email, Reason::HardBounce, day(0));
        assert!(bounced.holds_back(Lane::Transactional, day(364)));
        assert!(!bounced.holds_back(Lane::Transactional, day(365)));
        let wish = Suppressed::new(Kind::Email, Reason::Unsubscribed, day(0));
        assert!(wish.holds_back(Lane::Transactional, day(10_000)));
    }

    #[test]
    fn soft_bounces_count_over_days_and_in_a_row() {
        let policy = SoftPolicy::default();
        let mut row = SoftBounces::default();
        // Many in one hour are one full mailbox.
        assert!((0..20).all(|_| row.bounced(policy, day(0)).is_none()));
        assert_eq!(row.bounced(policy, day(3)), Some(Reason::SoftBounces));
        row.worked();
        assert_eq!(row.bounced(policy, day(9)), None);
    }
}
