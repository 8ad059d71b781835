//! Sending one leg: the handler of the effects. It takes a place at an account, writes down that it begins, fills the template, and
//! hands the message over; then it ends, goes to the next account, or waits for its next try.

use super::begin::{Beginning, Going};
use super::desk::{Desk, Recorded};
use super::effects::{self, Attempted, Ended, Leg, Outcome, Sending};
use super::key;
use crate::NotifySettings;
use crate::channels::{Line, Outgoing, Taken};
use crate::domain::classes::{Class, Verdict};
use crate::domain::failover::{Choice, Next, after};
use crate::domain::opt_out::Link;
use crate::domain::retry::{self, Tries};
use crate::domain::state::{Answer, Cause, Wait};
use crate::domain::templates::{Body, Context, Rendered};
use crate::store::deliveries::{Filled, Stored};
use artel_contract::notify::Channel;
use artel_flow::Ctx;
use artel_message::{Code, Effect, Fault, Time};
use artel_wires::{Handed, Said, Stage};
use chrono_tz::Tz;
use std::pin::Pin;
use std::sync::Arc;

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
        let mut refused = self.leg.kind.map(|kind| self.line.unfit(kind)).unwrap_or_default();
        let mut rows = Vec::new();
        loop {
            let taken = match self.place(&refused).await {
                Ok(taken) => taken,
                Err(outcome) => return Ok(Ended { begun: rows, outcome }),
            };
            // Before it is written down that it begins: what waits for its place is not under way.
            let place = self.desk.places.take(|| taken.place()).await;
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
            let (attempt, then) = self.attempt(&filled, &taken, attempt, at, &refused).await;
            match then {
                Then::End(outcome) => {
                    rows.push(row);
                    if let Some(place) = place {
                        self.desk.places.keep((self.leg.delivery, self.leg.leg), place);
                    }
                    self.desk.keep(Arc::unwrap_or_clone(filled).stored);
                    return Ok(Ended { begun: rows, outcome });
                }
                Then::Other | Then::Again(_) => {
                    let Leg { delivery, leg, .. } = self.leg;
                    let recorded = Recorded { delivery, leg, attempt, begun: row, again: false };
                    self.desk.record(self.ctx, recorded).await?;
                }
            }
            if let Then::Again(until) = then {
                tracing::debug!(effect = self.name, attempt = number, %until, "a message is tried again");
                return Err(self.later(until));
            }
            refused.push(taken.index);
        }
    }

    /// A place at an account. Short waits are waited for here.
    async fn place(&self, refused: &[usize]) -> Result<Taken, Outcome> {
        let hold = self.ctx.settings::<NotifySettings>().hold();
        loop {
            let now = self.ctx.now();
            match self.line.take(refused, now) {
                Ok(taken) => return Ok(taken),
                Err(Choice::Wait { until, .. }) if until.since(now) <= hold => {
                    self.ctx.clock().until(until).await;
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
        attempt: u32,
        at: Time,
        refused: &[usize],
    ) -> (Attempted, Then) {
        let stored = &filled.stored;
        let of = |answer| attempted(attempt, &taken.name, at, answer);
        let outgoing = match self.outgoing(filled, attempt, at).await {
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
            Answer::Taken { .. } => (Answer::Taken { reference, parts }, None),
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
        let unsubscribe_url = self.unsubscribe_url(stored);
        let Rendered { language, body } = self.render(filled, unsubscribe_url.as_deref()).await?;
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

    /// Where what it is about can be turned off, and links are set up.
    fn unsubscribe_url(&self, stored: &Stored) -> Option<String> {
        let settings = self.ctx.settings::<NotifySettings>();
        let links = settings.links().filter(|_| stored.content.can_opt_out)?;
        Some(links.url(Link { delivery: stored.id, leg: self.leg.leg }))
    }

    async fn render(&self, filled: &Filled, unsubscribe_url: Option<&str>) -> Result<Rendered, Fault> {
        let content = &filled.stored.content;
        let template = self.desk.template(self.ctx, &content.template, content.template_version).await?;
        let data =
            serde_json::from_str(&filled.data).map_err(|error| Fault::invalid(format!("data: {error}")))?;
        let zone = content.zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
        let context = Context {
            recipient_name: content.name.as_deref(),
            recipient_language: content.language.as_deref(),
            zone,
            now: self.ctx.now(),
            unsubscribe_url,
        };
        template
            .render(self.line.channel, content.language.as_deref(), &data, &context)
            .map_err(|error| Fault::invalid(format!("template '{}': {error}", content.template)))
    }

    /// The effect waits, and with it whatever comes behind it for the same recipient.
    fn later(&self, until: Time) -> Fault {
        effects::again_at(until, self.ctx.now(), "it is tried again")
    }
}

fn attempted(attempt: u32, account: &str, begun_at: Time, answer: Answer) -> Attempted {
    let account = account.to_owned();
    Attempted { attempt, account, begun_at, answer, counts: false, verdict: None }
}
