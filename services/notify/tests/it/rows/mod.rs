//! Every row of the tables of providers, over the real wire: a simulator answers what the row is about, and the whole service does what its
//! class says. The tables themselves are walked through, so a new row is tested, or fails because nothing leads to it.

mod bench;
mod links;
mod log;
mod samples;
mod senders;
mod wire;

use artel_contract::notify::DeliveryId;
use artel_contract::notify::dead::{EmailGivenUp, GivenUp, PushGivenUp, SmsGivenUp};
use artel_notify::domain::classes::{Class, Key, Provider, Row, Scope};
use artel_wires::simulators::Answered;
use bench::{Bench, PAUSE, TRIES, Whom};
use samples::Sample;
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test]
async fn every_row_of_smtp() {
    walk(Provider::Smtp).await;
}

#[tokio::test]
async fn every_row_of_smpp() {
    walk(Provider::Smpp).await;
}

#[tokio::test]
async fn every_row_of_fcm() {
    walk(Provider::Fcm).await;
}

#[tokio::test]
async fn every_row_of_web_push() {
    walk(Provider::WebPush).await;
}

#[tokio::test]
async fn every_row_of_twilio() {
    walk(Provider::Twilio).await;
}

#[tokio::test]
async fn no_subscription_takes_an_account_out_of_use() {
    let bench = bench::start(Provider::WebPush).await;
    let statuses = [400, 401, 403, 429, 500];
    let said = statuses.into_iter().flat_map(|status| [(status, None), (status, Some(86_400))]);
    for (status, retry_after_s) in said {
        let answered = Answered::Http { status, code: String::new(), retry_after_s };
        let sample = Sample::Refuses(answered);
        for _ in 0..6 {
            let person = bench.person().await;
            bench.refuse(&person, &sample, Whom::All);
            bench.send(&person).await;
        }
        uses(&bench, "one").await;
    }
    bench.node.stop().await;
}

async fn walk(provider: Provider) {
    let mut bench = bench::start(provider).await;
    for row in provider.rows() {
        let before = bench.given_up.len();
        // Shown where the test fails.
        println!("{} {:?} {:?}", provider.as_str(), row.key, row.class);
        let sample = samples::of(provider, row).expect("an answer that leads to this row");
        match row.key {
            // No simulator is called by a name of somebody else's.
            Key::Http { host, .. } if !host.is_empty() => wire::of_host(row, &sample, host).await,
            _ => check(&mut bench, row, &sample).await,
        }
        // What is told is kept for some days, and rows take that long by the node's clock.
        bench.all_given_up(before).await;
    }
    bench.node.stop().await;
}

async fn check(bench: &mut Bench, row: &Row, sample: &Sample) {
    match row.class {
        Class::Accepted => return accepted(bench).await,
        Class::Suppress => return suppressed(bench, row, sample).await,
        Class::Permanent => refused(bench, row, sample).await,
        Class::Retry | Class::RetryAfter => {
            tried_again(bench, row, sample).await;
            given_up(bench, row, sample).await;
            at_the_moment_that_the_provider_names(bench, row, sample).await;
        }
        Class::Throttled(Scope::Recipient) => recipient_slowed(bench, row, sample).await,
        Class::Throttled(Scope::Account | Scope::Link) => account_slowed(bench, row, sample).await,
        Class::Config => out_of_use(bench, row, sample).await,
        Class::Ambiguous => unknown(bench, sample).await,
    }
    if row.soft {
        soft_bounces(bench, row, sample).await;
    }
    bench.heal().await;
}

async fn accepted(bench: &Bench) {
    let person = bench.person().await;
    let id = bench.send(&person).await;
    assert_eq!(bench.leg(&id).await.0, "sent");
    assert_eq!(bench.seen(&person), ["one"]);
}

/// The pause after two failures that count, where the row names none that is longer.
fn pause(row: &Row) -> (Duration, Duration) {
    let (own, seconds) = (2 * PAUSE, Duration::from_secs);
    match row.wait {
        Some(wait) if wait >= seconds(own) => (wait, wait + wait.min(seconds(60)) / 5),
        wait => (seconds(own * 4 / 5).max(wait.unwrap_or_default()), seconds(own * 6 / 5)),
    }
}

/// Over the other account at once, and where that one refuses as well after a pause.
async fn tried_again(bench: &Bench, row: &Row, sample: &Sample) {
    let person = bench.person().await;
    if (1..=2).contains(&row.tries) {
        // Two accounts use up two tries at once: there is no pause to look at.
        bench.refuse(&person, sample, Whom::First);
        let id = bench.send(&person).await;
        assert_eq!((bench.seen(&person), bench.leg(&id).await.0.as_str()), (vec!["one", "two"], "sent"));
        return;
    }
    bench.refuse(&person, sample, Whom::Times(2));
    let id = bench.send(&person).await;
    assert_eq!(bench.seen(&person), ["one", "two"]);
    let (waited, (least, most)) = (bench.next_try(&person, &id).await, pause(row));
    assert!((least..=most).contains(&waited), "{waited:?} is not {least:?} to {most:?}");
    assert_eq!(bench.seen(&person), ["one", "two", "one"]);
    assert_eq!(bench.leg(&id).await.0, "sent");
}

/// After the row's tries, or those of the settings.
async fn given_up(bench: &mut Bench, row: &Row, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::All);
    let id = bench.send(&person).await;
    while bench.leg(&id).await.0 == "scheduled" {
        bench.next_try(&person, &id).await;
    }
    let (state, _, leg) = bench.leg(&id).await;
    let most = if row.tries == 0 { TRIES } else { row.tries.min(TRIES) };
    assert_eq!((state.as_str(), leg["attempts"].as_u64()), ("failed", Some(most.into())), "{leg}");
    assert!(leg["reason"].as_str().unwrap().ends_with("its tries are used up"), "{leg}");
    assert_eq!(bench.suppressed(&person).await, None);
    bench.given_up.push((id, row.meaning[0].to_owned()));
}

/// Over the same account, and no earlier than it was asked for, or than the row says where that is later.
async fn at_the_moment_that_the_provider_names(bench: &Bench, row: &Row, sample: &Sample) {
    let Sample::Refuses(Answered::Http { status, code, .. }) = sample else { return };
    let answered = Answered::Http { status: *status, code: code.clone(), retry_after_s: Some(100) };
    let person = bench.person().await;
    bench.refuse(&person, &Sample::Refuses(answered), Whom::First);
    let id = bench.send(&person).await;
    assert_eq!(bench.seen(&person), ["one"]);
    let waited = bench.next_try(&person, &id).await;
    let least = row.wait.map_or(0, |wait| wait.as_secs()).max(100);
    assert!((least..=least + 12).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!((bench.seen(&person), bench.leg(&id).await.0.as_str()), (vec!["one", "one"], "sent"));
}

/// Too fast costs no try: more refusals than there are tries, and it arrives all the same.
async fn costs_no_try(bench: &Bench, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::Times(TRIES + 2));
    let id = bench.send(&person).await;
    while bench.leg(&id).await.0 == "scheduled" {
        bench.next_try(&person, &id).await;
    }
    let (state, _, leg) = bench.leg(&id).await;
    assert_eq!((state.as_str(), leg["attempts"].as_u64()), ("sent", Some((TRIES + 3).into())), "{leg}");
}

/// This one goes over the other account, and so does all else until the pause is over.
async fn account_slowed(bench: &Bench, row: &Row, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::First);
    let id = bench.send(&person).await;
    assert_eq!((bench.seen(&person), bench.leg(&id).await.0.as_str()), (vec!["one", "two"], "sent"));
    let wait = row.wait.unwrap_or_default().max(Duration::from_secs(1));
    uses(bench, "two").await;
    bench.later(wait - Duration::from_millis(1)).await;
    uses(bench, "two").await;
    bench.later(Duration::from_millis(1)).await;
    uses(bench, "one").await;
    bench.heal().await;
    costs_no_try(bench, sample).await;
}

/// This one waits; others go on over the same account.
async fn recipient_slowed(bench: &Bench, row: &Row, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::First);
    let id = bench.send(&person).await;
    assert_eq!(bench.seen(&person), ["one"]);
    uses(bench, "one").await;
    let waited = bench.next_try(&person, &id).await;
    assert!(waited >= row.wait.unwrap_or_default(), "{waited:?}");
    assert_eq!((bench.seen(&person), bench.leg(&id).await.0.as_str()), (vec!["one", "one"], "sent"));
    costs_no_try(bench, sample).await;
}

/// Which account a message to somebody goes over.
async fn uses(bench: &Bench, account: &str) {
    let person = bench.person().await;
    bench.send(&person).await;
    assert_eq!(bench.seen(&person), [account]);
}

/// A dead letter, and nothing more to this address.
async fn suppressed(bench: &mut Bench, row: &Row, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::All);
    let id = bench.send(&person).await;
    let (state, _, leg) = bench.leg(&id).await;
    assert_eq!((state.as_str(), bench.seen(&person)), ("failed", vec!["one"]), "{leg}");
    bench.given_up.push((id, row.meaning[0].to_owned()));
    let reason = row.suppress.expect("a reason");
    let listed = if reason.removes_token() { "removed" } else { reason.as_str() };
    assert_eq!(bench.suppressed(&person).await.as_deref(), Some(listed));
    let next = bench.send(&person).await;
    assert_eq!((bench.leg(&next).await.0.as_str(), bench.seen(&person).len()), ("suppressed", 1));
}

/// A dead letter, and nothing against the address.
async fn refused(bench: &mut Bench, row: &Row, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::All);
    for sent in 1..=2 {
        let id = bench.send(&person).await;
        let (state, _, leg) = bench.leg(&id).await;
        assert_eq!((state.as_str(), leg["attempts"].as_u64()), ("failed", Some(1)), "{leg}");
        assert_eq!((bench.seen(&person).len(), bench.suppressed(&person).await), (sent, None));
        bench.given_up.push((id, row.meaning[0].to_owned()));
    }
}

/// The other account takes over; this one is left alone until its rest is over. Where there is no other, messages wait for the repair.
async fn out_of_use(bench: &Bench, row: &Row, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::First);
    let id = bench.send(&person).await;
    let (state, _, leg) = bench.leg(&id).await;
    assert_eq!(
        (state.as_str(), leg["attempts"].as_u64(), leg["provider"].as_str()),
        ("sent", Some(2), Some("two"))
    );
    assert_eq!(bench.seen(&person).last(), Some(&"two"));
    let rest = row.wait.unwrap_or_default().max(Duration::from_secs(60));
    uses(bench, "two").await;
    bench.later(rest - Duration::from_millis(1)).await;
    uses(bench, "two").await;
    bench.later(Duration::from_millis(1)).await;
    uses(bench, "one").await;
    bench.heal().await;
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::Times(2));
    let id = bench.send(&person).await;
    while bench.leg(&id).await.0 == "scheduled" {
        bench.next_try(&person, &id).await;
    }
    let (state, _, leg) = bench.leg(&id).await;
    assert_eq!((state.as_str(), leg["attempts"].as_u64()), ("sent", Some(3)), "{leg}");
}

/// Nothing more by itself, unless the provider was asked and says that it never got it.
async fn unknown(bench: &Bench, sample: &Sample) {
    let person = bench.person().await;
    bench.refuse(&person, sample, Whom::First);
    let id = bench.send(&person).await;
    bench.later(Duration::from_secs(86_400)).await;
    let delivery = crate::fresh(&bench.node, &id).await;
    let lines = delivery["timeline"].as_array().unwrap();
    let asked =
        lines.iter().any(|line| line["what"].as_str().unwrap().starts_with("asked: the provider never"));
    let (state, sent) = if asked { ("sent", 2) } else { ("unknown", 1) };
    assert_eq!((delivery["state"].as_str(), bench.seen(&person).len()), (Some(state), sent), "{delivery}");
}

/// Several in a row, over some days, make an address a bad one.
async fn soft_bounces(bench: &mut Bench, row: &Row, sample: &Sample) {
    bench.heal().await;
    let person = bench.person().await;
    let mut last = String::new();
    for day in [0, 0, 0, 0, 3] {
        bench.later(Duration::from_secs(day * 86_400)).await;
        assert_eq!(bench.suppressed(&person).await, None);
        bench.refuse(&person, sample, Whom::All);
        last = bench.send(&person).await;
        while day == 0 && bench.leg(&last).await.0 == "scheduled" {
            bench.next_try(&person, &last).await;
        }
        if bench.leg(&last).await.0 == "failed" {
            bench.given_up.push((last.clone(), row.meaning[0].to_owned()));
        }
    }
    assert_eq!(bench.suppressed(&person).await.as_deref(), Some("soft_bounces"));
    let over = if row.class == Class::Permanent { "failed" } else { "suppressed" };
    assert_eq!(bench.leg(&last).await.0, over, "what still waits ends as well");
}

impl Bench {
    /// What was given up from `first` on stands where operators look for it, with the reason, and nothing else ever does.
    async fn all_given_up(&self, first: usize) {
        let told: Vec<(DeliveryId, GivenUp)> = match self.channel() {
            "email" => self
                .node
                .published::<EmailGivenUp>()
                .await
                .into_iter()
                .map(|it| (it.delivery, it.given))
                .collect(),
            "sms" => self
                .node
                .published::<SmsGivenUp>()
                .await
                .into_iter()
                .map(|it| (it.delivery, it.given))
                .collect(),
            _ => self
                .node
                .published::<PushGivenUp>()
                .await
                .into_iter()
                .map(|it| (it.delivery, it.given))
                .collect(),
        };
        let told: BTreeMap<String, String> =
            told.into_iter().map(|(delivery, given)| (delivery.to_string(), given.reason)).collect();
        for (id, meaning) in &self.given_up[first..] {
            let reason = told.get(id).map_or("", String::as_str);
            assert!(reason.contains(meaning.as_str()), "{id}: '{meaning}' in '{reason}'");
        }
        let expected = |id: &String| self.given_up.iter().any(|(given, _)| given == id);
        assert!(told.keys().all(expected), "{told:?}");
    }
}
