//! Asking a provider what became of an attempt that nobody knows the end of.

use super::desk::Desk;
use super::effects::again_at;
use super::feedback::{self, Guards, Heard};
use super::key;
use super::steps::{self, Tell, Telling};
use crate::NotifySettings;
use crate::channels::{Question, Word};
use crate::domain::state::{Fact, Found, Happened, Receipt};
use crate::store::deliveries;
use crate::store::references::{self, Reference};
use artel_contract::notify::DeliveryId;
use artel_flow::{Ctx, EffectDone, Tx};
use artel_message::{Effect, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    let found = deliveries::read(&ctx.read().await?, &[delivery]).await?.pop();
    let stored = found.map(|whole| whole.stored);
    let of = stored.as_ref().and_then(|stored| stored.plan.legs.get(leg as usize));
    let address = stored.as_ref().and_then(|stored| stored.content.address(leg as usize)).cloned();
    let made = of.and_then(|of| of.attempts.get((attempt as usize).checked_sub(1)?));
    let (Some(of), Some(made), Some(address)) = (of, made, address) else {
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
        address,
        begun_at: made.begun_at,
    };
    let limit = ctx.settings::<NotifySettings>().call();
    let word = tokio::time::timeout(limit, account.carrier.ask(&question)).await;
    let (found, name) = match word.map_err(|_| Fault::unavailable("the provider does not answer"))?? {
        Word::Found(found) => (found, None),
        Word::OneOf(candidates) => which(ctx, &account.name, candidates).await?,
    };
    let settled = made.begun_at + account.carrier.settles();
    let now = ctx.now();
    if found == Found::Nothing && now < settled {
        return Err(again_at(settled, now, "the provider may not know of it yet"));
    }
    let named = name.map(|name| (account.name.to_string(), name));
    Ok(Answered { found: Some(found), named })
}

/// Those that are other attempts are not this one. Of several that may be it nobody can say.
async fn which(
    ctx: &Ctx,
    account: &str,
    candidates: Vec<(String, Receipt)>,
) -> Result<(Found, Option<String>), Fault> {
    if candidates.is_empty() {
        return Ok((Found::Nothing, None));
    }
    let names = candidates.iter().map(|(name, _)| name.as_str());
    let known = references::known(&ctx.read().await?, account, names).await?;
    let mut unknown = candidates.into_iter().filter(|(name, _)| !known.contains(name));
    Ok(match (unknown.next(), unknown.next()) {
        (None, _) => (Found::Nothing, None),
        (Some((name, receipt)), None) => (Found::Known(receipt), Some(name)),
        (Some(_), Some(_)) => (Found::CantSay, None),
    })
}

/// What providers said when they were asked.
pub async fn asked(tx: &mut Tx, all: Vec<EffectDone<AskProvider>>) -> Result<(), Fault> {
    let now = tx.now();
    let (mut told, mut names, mut heard) = (Vec::with_capacity(all.len()), Vec::new(), Vec::new());
    for done in all {
        let AskProvider { delivery, leg, attempt } = done.input;
        let Answered { found, named } = match done.result {
            Ok(answered) => answered,
            Err(_) => Answered { found: Some(Found::CantSay), named: None },
        };
        let Some(found) = found else { continue };
        if let Some((account, reference)) = named {
            if let Found::Known(Receipt::Refused(verdict)) = &found {
                heard.push(Heard::told(delivery, leg as usize, &account, verdict));
            }
            names.push(Reference { account, reference, delivery, leg, attempt });
        }
        let happened = Happened::Asked { leg: leg as usize, attempt, found };
        told.push(Telling { delivery, tell: Tell::Happened(happened, now) });
    }
    let stepped = steps::apply(tx, Vec::new(), told).await?;
    feedback::learn(tx, &Guards::default(), &stepped, heard).await?;
    if !names.is_empty() {
        references::insert(tx, &names).await?;
    }
    Ok(())
}
