//! What the firing loop sleeps on: woken by a timer that is due earlier than it meant to sleep, and by no other.

use artel_message::Time;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

pub(crate) struct Alarm {
    /// Until when the loop sleeps; the end of time while it is awake.
    until: AtomicI64,
    bell: Notify,
}

impl Default for Alarm {
    fn default() -> Alarm {
        Alarm { until: AtomicI64::new(i64::MAX), bell: Notify::new() }
    }
}

impl Alarm {
    /// A timer was set for then.
    pub fn set(&self, due: Time) {
        if due.micros() < self.until.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// There may be anything.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// The loop looks now; whatever is set meanwhile rings.
    pub fn awake(&self) {
        self.until.store(i64::MAX, Ordering::SeqCst);
    }

    pub fn asleep_until(&self, due: Time) {
        self.until.store(due.micros(), Ordering::SeqCst);
    }

    /// Returns when it has rung since the last time.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn only_an_earlier_timer_rings() {
        let alarm = Alarm::default();
        alarm.set(Time::from_micros(9));
        assert!(alarm.rung().now_or_never().is_some(), "nobody knows yet until when it sleeps");
        alarm.asleep_until(Time::from_micros(5));
        alarm.set(Time::from_micros(5));
        assert!(alarm.rung().now_or_never().is_none());
        alarm.set(Time::from_micros(4));
        assert!(alarm.rung().now_or_never().is_some());
        alarm.ring();
        assert!(alarm.rung().now_or_never().is_some());
    }

    #[test]
    fn what_is_set_during_the_look_rings_afterwards() {
        let alarm = Alarm::default();
        alarm.asleep_until(Time::from_micros(5));
        alarm.awake();
        alarm.set(Time::from_micros(7));
        alarm.asleep_until(Time::from_micros(9));
        assert!(alarm.rung().now_or_never().is_some());
    }
}
