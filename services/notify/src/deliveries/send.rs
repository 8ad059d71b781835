//! Sending one leg: the handler of the effects. It takes a place at an account, writes down that it begins, fills the template, and
//! hands the message over; then it ends, goes to the next account, or waits for its next try.

use super::begin::{Beginning, Going};
use super::desk::{Desk, Recorded};
use super::effects::{self, Attempted, Ended, Leg, Outcome, Sending};
use super::key;
use super::receipts::is_name;
use super::words::{self, Words};
use crate::NotifySettings;
use crate::channels::{Line, Outgoing, Taken};
use crate::domain::classes::{Class, Verdict};
use crate::domain::failover::{Choice, Next, after};
use crate::domain::retry::{self, Tries};
use crate::domain::state::{Answer, Cause, Wait};
use crate::domain::templates::{Body, Rendered};
use crate::store::deliveries::{Filled, Stored};
use artel_contract::notify::Channel;
use artel_flow::Ctx;
use artel_message::{Code, Effect, Fault, Time};
use artel_wires::{Handed, Said, Stage};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// Before a message asks for a place again that has found none.
const NO_PLACE: Duration = Duration::from_secs(1);
/// The least that template and files have to be read in.
const LOADED: Duration = Duration::from_secs(5);

pub type Work = Pin<Box<dyn Future<Output = Result<Ended, Fault>> + Send>>;

/// The handler of one kind of effect.
pub fn handler<E: Sending + Effect<Done = Ended>>(
    desk: &Arc<Desk>,
    channel: Channel,
) -> impl Fn(&Ctx, E) -> Work + Send + Sync + 'static {
    let desk = desk.clone();
    move |ctx: &Ctx, effect: E| {
        let first = ctx.effect().is_none_or(|call| call.attempt == 1);
        let (ctx, desk) = (ctx.clone(), desk.clone());
        Box::pin(async move {
            let line = desk.line(&ctx, channel)?;
            let sender = Sender { ctx: &ctx, desk: &desk, line: &line, name: E::NAME, leg: effect.leg() };
            sender.run(first).await
        })
    }
}

struct Sender<'a> {
    ctx: &'a Ctx,
    desk: &'a Desk,
    line: &'a Line,
    name: &'static str,
    leg: Leg,
}

/// Why there is no place at an account.
enum NoPlace {
    /// This comes of it.
    For(Outcome),
    /// So many are under way that none became free in time.
    Now,
}

/// What follows an attempt.
enum Then {
    End(Outcome),
    /// Another account, at once.
    Other,
    /// The same effect, at this moment.
    Again(Time),
}

impl Sender<'_> {
    async fn run(&self, mut first: bool) -> Result<Ended, Fault> {
        let until = self.latest();
        let mut refused = self.leg.kind.map(|kind| self.line.unfit(kind)).unwrap_or_default();
        let mut rows = Vec::new();
        loop {
            // Before it is written down that it begins: what waits for its place is not under way.
            let (taken, place) = match self.place(&refused, until).await {
                Ok(taken) => taken,
                Err(NoPlace::For(outcome)) => return Ok(Ended { begun: rows, outcome }),
                Err(NoPlace::Now) => return Err(self.later(self.ctx.now() + NO_PLACE)),
            };
            let beginning = Beginning { leg: self.leg, account: taken.name.clone(), first };
            first = false;
            let (filled, attempt, at, row) = match self.desk.begin(self.ctx, self.name, beginning).await? {
                Going::Go { filled, attempt, at, begun } => (filled, attempt, at, begun),
                Going::Lost { attempt, at, account } => {
                    let reason = "nobody knows whether it was sent: the node that sent it stopped".to_owned();
                    let attempt = attempted(attempt, &account, at, Answer::Lost { reason });
                    return Ok(Ended { begun: rows, outcome: Outcome::Attempt(attempt) });
                }
                Going::Not(outcome) => return Ok(Ended { begun: rows, outcome }),
                Going::Early(until) => return Err(self.later(until)),
            };
            let number = attempt;
            let (attempt, then) = self.attempt(&filled, &taken, (attempt, at, until), &refused).await;
            match then {
                Then::End(outcome) => {
                    rows.push(row);
                    self.desk.places.keep((self.leg.delivery, self.leg.leg), place);
                    self.desk.keep(Arc::unwrap_or_clone(filled).stored);
                    return Ok(Ended { begun: rows, outcome });
                }
                Then::Other | Then::Again(_) => {
                    let Leg { delivery, leg, .. } = self.leg;
                    let by_key = self.desk.tells_by_key(&attempt.account);
                    let recorded = Recorded { delivery, leg, attempt, begun: row, again: false, by_key };
                    self.desk.record(self.ctx, recorded).await?;
                }
            }
            if let Then::Again(until) = then {
                tracing::debug!(effect = self.name, attempt = number, %until, "a message is tried again");
                return Err(self.later(until));
            }
            if Instant::now() >= until {
                return Err(self.later(self.ctx.now()));
            }
            refused.push(taken.index);
        }
    }

    /// Until when an attempt may begin: the flow cuts an effect off after its time, and nobody knows what becomes of a message that is
    /// on the wire then.
    fn latest(&self) -> Instant {
        let (whole, call) = (self.ctx.effect_time(), self.ctx.settings::<NotifySettings>().call());
        Instant::now() + whole.saturating_sub(call + whole / 10)
    }

    /// A place at an account. Short waits are waited for here. Pace and breaker are asked last: whoever has waited for a place would
    /// know nothing of them.
    async fn place(
        &self,
        refused: &[usize],
        latest: Instant,
    ) -> Result<(Taken, OwnedSemaphorePermit), NoPlace> {
        loop {
            let taken = self.account(refused, latest).await.map_err(NoPlace::For)?;
            let Some(place) = self.desk.places.take(latest, taken.place()).await else {
                return Err(NoPlace::Now);
            };
            if self.line.take(&taken, self.ctx.now()) {
                return Ok((taken, place));
            }
        }
    }

    /// An account that may send now.
    async fn account(&self, refused: &[usize], latest: Instant) -> Result<Taken, Outcome> {
        let hold = self.ctx.settings::<NotifySettings>().hold();
        loop {
            let now = self.ctx.now();
            match self.line.look(refused, now) {
                Ok(taken) => return Ok(taken),
                Err(Choice::Wait { until, .. }) if until.since(now) <= hold && Instant::now() < latest => {
                    // Looked at again also where the time was over before.
                    let _ = timeout_at(latest, self.ctx.clock().until(until)).await;
                }
                Err(Choice::Wait { until, why }) => return Err(Outcome::PutOff(Wait { until, why })),
                Err(_) => {
                    let channel = self.line.channel.as_str();
                    return Err(Outcome::Suppressed(format!(
                        "no account is set up for it (notify.{channel}.accounts)"
                    )));
                }
            }
        }
    }

    /// Makes one attempt and says what follows.
    async fn attempt(
        &self,
        filled: &Filled,
        taken: &Taken,
        (attempt, at, until): (u32, Time, Instant),
        refused: &[usize],
    ) -> (Attempted, Then) {
        let stored = &filled.stored;
        let of = |answer| attempted(attempt, &taken.name, at, answer);
        let outgoing = timeout_at(until.max(Instant::now() + LOADED), self.outgoing(filled, attempt, at));
        let late = || Fault::unavailable("its template or its files could not be read in time");
        let outgoing = match outgoing.await.unwrap_or_else(|_| Err(late())) {
            Ok(outgoing) => outgoing,
            // The template or the files could not be read, which says nothing of the message.
            Err(fault) if !fault.code.is_final() && fault.code != Code::NotFound => {
                let again = self.ctx.now() + self.ctx.settings::<NotifySettings>().policy().pause;
                return (of(Answer::NotTaken { again, reason: fault.reason }), Then::Again(again));
            }
            Err(fault) => {
                let refused = of(Answer::Refused { cause: Cause::Permanent, reason: fault.reason });
                return (refused.clone(), Then::End(Outcome::Attempt(refused)));
            }
        };
        let limit = self.ctx.settings::<NotifySettings>().call();
        let handed = tokio::time::timeout(limit, taken.carrier.hand(&outgoing)).await;
        let handed = handed.unwrap_or_else(|_| Handed {
            said: Said::Broken { stage: Stage::After, text: format!("no answer within {limit:?}") },
            reference: None,
            parts: Vec::new(),
            by: taken.name.to_string(),
        });
        let now = self.ctx.now();
        let verdict = self.line.heard(taken, &handed.said, now);
        let (answer, then) = self.judge(stored, taken, &verdict, handed, (attempt, at, refused));
        let counts = matches!(answer, Answer::NotTaken { .. }) && retry::counts(verdict.class);
        let verdict = Some(verdict).filter(|verdict| verdict.class != Class::Accepted);
        let attempt = Attempted { counts, verdict, ..of(answer) };
        let then = then.unwrap_or_else(|| Then::End(Outcome::Attempt(attempt.clone())));
        (attempt, then)
    }

    /// What an answer means for the message, and what follows where that is not its end.
    fn judge(
        &self,
        stored: &Stored,
        taken: &Taken,
        verdict: &Verdict,
        Handed { reference, parts, .. }: Handed,
        (attempt, at, refused): (u32, Time, &[usize]),
    ) -> (Answer, Option<Then>) {
        let now = self.ctx.now();
        let (leg, spread) = (self.leg.leg as usize, stored.id.uuid().as_u128() as u64);
        let elsewhere = self.elsewhere(verdict, taken, refused, stored.plan.expires_at);
        let tries = Tries { elsewhere, ..Tries::of(&stored.plan, leg, attempt, at, verdict.class, spread) };
        let answer = retry::answer(&self.ctx.settings::<NotifySettings>().policy(), verdict, &tries, now);
        match answer {
            Answer::Taken { .. } => (taken_as(reference, parts), None),
            Answer::NotTaken { again, reason } => match elsewhere {
                Some(_) => (Answer::NotTaken { again: now, reason }, Some(Then::Other)),
                None => (Answer::NotTaken { again, reason }, Some(Then::Again(again))),
            },
            other => (other, None),
        }
    }

    /// When another account has a place for what this one did not take, where that is what comes next, and in time.
    fn elsewhere(
        &self,
        verdict: &Verdict,
        taken: &Taken,
        refused: &[usize],
        over: Option<Time>,
    ) -> Option<Time> {
        if after(verdict.class) != Next::Other {
            return None;
        }
        let mut out = refused.to_vec();
        out.push(taken.index);
        let free = self.line.free_at(&out, self.ctx.now())?;
        over.is_none_or(|over| free < over).then_some(free)
    }

    async fn outgoing(&self, filled: &Filled, attempt: u32, begun_at: Time) -> Result<Outgoing, Fault> {
        let (stored, leg) = (&filled.stored, self.leg.leg as usize);
        let address = stored.content.address(leg).cloned();
        let address = address.ok_or_else(|| Fault::invalid("there is no address"))?;
        let Words { rendered: Rendered { language, body }, unsubscribe_url } =
            words::of(self.ctx, self.desk, filled, leg, begun_at).await?;
        let attachments = match (&body, &stored.content.attachments) {
            (Body::Email { .. }, Some(set)) => Some(self.desk.attachments.get(self.ctx, set).await?),
            _ => None,
        };
        Ok(Outgoing {
            delivery: stored.id,
            key: key::of(stored.id, self.leg.leg, attempt),
            address,
            body,
            language,
            attachments,
            unsubscribe_url,
            expires_at: stored.plan.expires_at,
            begun_at,
        })
    }

    /// The effect waits, and with it whatever comes behind it for the same recipient.
    fn later(&self, until: Time) -> Fault {
        effects::again_at(until, self.ctx.now(), "it is tried again")
    }
}

/// What no table has room for is no name: a subscriber's own host may give any.
fn taken_as(reference: Option<String>, mut parts: Vec<String>) -> Answer {
    if !parts.iter().all(|part| is_name(part)) {
        parts.clear();
    }
    Answer::Taken { reference: reference.filter(|name| is_name(name)), parts }
}

fn attempted(attempt: u32, account: &str, begun_at: Time, answer: Answer) -> Attempted {
    let account = account.to_owned();
    Attempted { attempt, account, begun_at, answer, counts: false, verdict: None }
}
