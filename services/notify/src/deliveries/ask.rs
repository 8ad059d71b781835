//! Asking a provider what became of an attempt that nobody knows the end of.

use super::desk::Desk;
use super::effects::again_at;
use super::feedback::{self, Guards, Heard};
use super::key;
use super::receipts::is_name;
use super::rivals::{self, Lost};
use super::steps::{self, Tell, Telling};
use super::words;
use crate::NotifySettings;
use crate::channels::{Candidate, Question, Word};
use crate::domain::likeness::{self, Likeness};
use crate::domain::state::{Fact, Found, Happened, Receipt};
use crate::domain::templates::Body;
use crate::store::deliveries::{self, Filled};
use crate::store::references::{self, Reference};
use artel_contract::notify::DeliveryId;
use artel_flow::{Ctx, EffectDone, Tx};
use artel_message::{Effect, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Effect)]
#[effect(name = "notify.ask-provider", done = Answered)]
pub struct AskProvider {
    pub delivery: DeliveryId,
    pub leg: u32,
    pub attempt: u32,
}

/// What was said; nothing where nobody needed to be asked any more.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Answered {
    #[schemars(with = "Option<Value>")]
    pub found: Option<Found>,
    /// The account, and what it calls the attempt, where that came to light.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<(String, String)>,
}

type Work = Pin<Box<dyn Future<Output = Result<Answered, Fault>> + Send>>;

pub fn ask_handler(desk: &Arc<Desk>) -> impl Fn(&Ctx, AskProvider) -> Work + Send + Sync + 'static {
    let desk = desk.clone();
    move |ctx: &Ctx, question: AskProvider| {
        let (ctx, desk) = (ctx.clone(), desk.clone());
        Box::pin(async move { ask(&ctx, &desk, question).await })
    }
}

async fn ask(ctx: &Ctx, desk: &Desk, question: AskProvider) -> Result<Answered, Fault> {
    let AskProvider { delivery, leg, attempt } = question;
    let Some(filled) = deliveries::filled(&ctx.read().await?, &[delivery]).await?.pop() else {
        return Ok(Answered::default());
    };
    let stored = &filled.stored;
    let of = stored.plan.legs.get(leg as usize);
    let made = of.and_then(|of| of.attempts.get((attempt as usize).checked_sub(1)?));
    let (Some(of), Some(made), Some(address)) = (of, made, stored.content.address(leg as usize)) else {
        return Ok(Answered::default());
    };
    if !matches!(made.fact, Fact::Lost | Fact::Unclear) || made.released {
        return Ok(Answered::default());
    }
    let line = desk.line(ctx, of.channel)?;
    let Some(account) = line.named(&made.provider) else {
        return Ok(Answered { found: Some(Found::CantSay), named: None });
    };
    let question = Question {
        key: key::of(delivery, leg, attempt),
        reference: made.reference.clone(),
        parts: made.parts.iter().map(|part| part.reference.clone()).collect(),
        address: address.clone(),
        begun_at: made.begun_at,
    };
    let limit = ctx.settings::<NotifySettings>().call();
    let word = tokio::time::timeout(limit, account.carrier.ask(&question)).await;
    let (found, name) = match word.map_err(|_| Fault::unavailable("the provider does not answer"))?? {
        Word::Found(found) => (found, None),
        Word::OneOf(candidates) => {
            let subscriber = stored.subscriber.as_deref();
            let (attempt, begun_at) = ((delivery, leg, attempt), made.begun_at);
            let lost = Lost { attempt, account: &account.name, address, subscriber, begun_at };
            which(ctx, desk, (&filled, &lost), candidates).await?
        }
    };
    let settled = made.begun_at + account.carrier.settles();
    let now = ctx.now();
    if found == Found::Nothing && now < settled {
        return Err(again_at(settled, now, "the provider may not know of it yet"));
    }
    let named = name.map(|name| (account.name.to_string(), name));
    Ok(Answered { found: Some(found), named })
}

/// Those that are other attempts are not this one. What is left is told apart by what it says.
async fn which(
    ctx: &Ctx,
    desk: &Desk,
    (filled, lost): (&Filled, &Lost<'_>),
    candidates: Vec<Candidate>,
) -> Result<(Found, Option<String>), Fault> {
    if candidates.is_empty() {
        return Ok((Found::Nothing, None));
    }
    let names = candidates.iter().map(|one| one.name.as_str());
    let known = references::known(&ctx.read().await?, lost.account, names).await?;
    let mut unknown: Vec<Candidate> = candidates;
    unknown.retain(|one| !known.contains_key(&one.name));
    if unknown.is_empty() {
        return Ok((Found::Nothing, None));
    }
    let found = known.into_values().collect();
    let said = match said(ctx, desk, (filled, lost), &found).await {
        Err(fault) if fault.code.is_final() => None,
        said => said?,
    };
    let texts: Vec<&str> = unknown.iter().map(|one| one.text.as_str()).collect();
    let likeness = said.map_or(Likeness::Unclear, |(own, others)| likeness::which(&texts, &own, &others));
    Ok(match likeness {
        Likeness::None => (Found::Nothing, None),
        Likeness::One(at) => {
            let Candidate { name, receipt, .. } = unknown.swap_remove(at);
            (Found::Known(receipt), Some(name))
        }
        Likeness::Unclear => (Found::CantSay, None),
    })
}

/// What the attempt says, and what others do that a message may be as well.
async fn said(
    ctx: &Ctx,
    desk: &Desk,
    (filled, lost): (&Filled, &Lost<'_>),
    found: &BTreeSet<(DeliveryId, u32, u32)>,
) -> Result<Option<(String, Vec<String>)>, Fault> {
    let (_, leg, _) = lost.attempt;
    match words::of(ctx, desk, filled, leg as usize, lost.begun_at).await?.rendered.body {
        Body::Sms { text } => Ok(Some((text, rivals::texts(ctx, desk, lost, found).await?))),
        _ => Ok(None),
    }
}

/// What providers said when they were asked.
pub async fn asked(tx: &mut Tx, all: Vec<EffectDone<AskProvider>>) -> Result<(), Fault> {
    let now = tx.now();
    let all: Vec<(AskProvider, Answered)> =
        all.into_iter().map(|done| (done.input, done.result.unwrap_or_else(|_| cant_say()))).collect();
    let mut claims: Vec<Reference> = all.iter().filter_map(claim).collect();
    if !claims.is_empty() {
        references::insert(tx, &claims).await?;
        let of: Vec<(String, String)> =
            claims.iter().map(|one| (one.account.clone(), one.reference.clone())).collect();
        let held = references::find(tx, &of).await?;
        claims.retain(|claim| !held.contains(claim));
    }
    let (mut told, mut heard) = (Vec::with_capacity(all.len()), Vec::new());
    for one in all {
        // The message is another attempt's, which was asked about, or answered, at the same time.
        let lost = claim(&one).is_some_and(|claim| claims.contains(&claim));
        let (AskProvider { delivery, leg, attempt }, answered) = one;
        let Answered { found, named } = if lost { cant_say() } else { answered };
        let Some(found) = found else { continue };
        if let (Some((account, _)), Found::Known(Receipt::Refused(verdict))) = (&named, &found) {
            heard.push(Heard::told(delivery, leg as usize, account, verdict));
        }
        let happened = Happened::Asked { leg: leg as usize, attempt, found };
        told.push(Telling { delivery, tell: Tell::Happened(happened, now) });
    }
    let stepped = steps::apply(tx, Vec::new(), told).await?;
    feedback::learn(tx, &Guards::default(), &stepped, heard).await
}

fn cant_say() -> Answered {
    Answered { found: Some(Found::CantSay), named: None }
}

/// What the attempt takes for its own.
fn claim((question, answered): &(AskProvider, Answered)) -> Option<Reference> {
    let AskProvider { delivery, leg, attempt } = *question;
    let (account, reference) = answered.named.clone()?;
    is_name(&reference).then_some(Reference { account, reference, delivery, leg, attempt })
}
