//! Asking a provider what became of an attempt that nobody knows the end of.

use super::desk::Desk;
use super::done::bury;
use super::send::key_of;
use super::steps::{self, Tell, Telling};
use crate::NotifySettings;
use crate::channels::Question;
use crate::domain::state::{Fact, Found, Happened};
use crate::store::deliveries;
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Answered {
    #[schemars(with = "Option<Value>")]
    pub found: Option<Found>,
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
    let plan = found.map(|whole| whole.stored.plan);
    let of = plan.as_ref().and_then(|plan| plan.legs.get(leg as usize));
    let made = of.and_then(|of| of.attempts.get((attempt as usize).checked_sub(1)?));
    let (Some(of), Some(made)) = (of, made) else { return Ok(Answered { found: None }) };
    if !matches!(made.fact, Fact::Lost | Fact::Unclear) || made.released {
        return Ok(Answered { found: None });
    }
    let line = desk.line(ctx, of.channel)?;
    let Some(account) = line.named(&made.provider) else {
        return Ok(Answered { found: Some(Found::CantSay) });
    };
    let question = Question {
        key: key_of(delivery.uuid(), leg, attempt),
        reference: made.reference.clone(),
        begun_at: made.begun_at,
    };
    let limit = ctx.settings::<NotifySettings>().call();
    let found = tokio::time::timeout(limit, account.carrier.ask(&question)).await;
    Ok(Answered { found: Some(found.map_err(|_| Fault::unavailable("the provider does not answer"))?) })
}

/// What providers said when they were asked.
pub async fn asked(tx: &mut Tx, all: Vec<EffectDone<AskProvider>>) -> Result<(), Fault> {
    let now = tx.now();
    let told = all.into_iter().filter_map(|done| {
        let AskProvider { delivery, leg, attempt } = done.input;
        let found = match done.result {
            Ok(answered) => answered.found?,
            Err(_) => Found::CantSay,
        };
        let happened = Happened::Asked { leg: leg as usize, attempt, found };
        Some(Telling { delivery, tell: Tell::Happened(happened, now) })
    });
    let stepped = steps::apply(tx, Vec::new(), told.collect()).await?;
    bury(tx, &stepped);
    Ok(())
}
