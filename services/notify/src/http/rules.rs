//! Rules over HTTP.

use super::etag::{Expected, answer, etag, refused};
use super::{Part, Which, asked};
use crate::rules::group_of;
use artel_bus::BusError;
use artel_contract::notify::rules::{
    AppliedRules, ApplyRules, GetRule, ListMisses, ListRules, Miss, PutRule, RemoveRule, RuleBody,
    RuleOfFile, RuleVersion, SavedRule, TriedRule, TryRule,
};
use artel_flow::{Ctx, GroupState};
use artel_frame::edge::{Json, Needs, Path, Problem, Produce, Query, Read, RequestInfo, Routes};
use artel_message::{Code, Fault, Page, Time};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// A rule to be tried.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Trial {
    /// In place of what is saved: to see it before.
    #[serde(default)]
    body: Option<RuleBody>,
    /// The message's value.
    #[serde(default)]
    event: Option<Value>,
    /// Its time; the present when absent.
    #[serde(default)]
    at: Option<Time>,
}

/// Rules that are applied together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Set {
    /// What they are known by together.
    source: String,
    rules: Vec<RuleOfFile>,
}

/// A rule, and how far the messages of its topic are read.
#[derive(Debug, Serialize, JsonSchema)]
struct Seen {
    #[serde(flatten)]
    rule: RuleVersion,
    /// Of the topic; absent where the rule is not enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reading: Option<Reading>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Reading {
    group: String,
    /// Whether it goes on; why not stands under `error`, and it is tried again.
    running: bool,
    /// Messages not read yet; absent while it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn routes() -> Routes<Ctx> {
    Routes::new()
        .get("/api/notify/rules", list, |op| {
            op.summary("List rules, or the versions of one").answers::<Page<RuleVersion>>(200, "a page")
        })
        .get("/api/notify/rules/{id}", get, |op| {
            op.summary("Look at a rule, and how far its topic is read")
                .answers::<Seen>(200, "the rule")
                .refuses(&[Code::NotFound])
        })
        .put("/api/notify/rules/{id}", put, |op| {
            op.summary("Save a rule as its next version")
                .description("Its topic has to exist. An enabled rule takes the messages that are written from then on; a change of one \
                     takes what waits as well. What is wrong stands under `data.problems`.")
                .answers::<SavedRule>(200, "changed")
                .answers::<SavedRule>(201, "made")
        })
        .delete("/api/notify/rules/{id}", remove, |op| {
            op.summary("Take a rule away").answers_empty(204, "it is gone").refuses(&[Code::NotFound])
        })
        .post("/api/notify/rules/{id}/try", try_out, |op| {
            op.summary("See what a rule would do with a message")
                .description("Also before it is saved (`body`). Nothing is sent.")
                .answers::<TriedRule>(200, "what is wrong with it, and what it would do")
                .refuses(&[Code::NotFound])
        })
        .get("/api/notify/rules/{id}/misses", misses, |op| {
            op.summary("List messages that a rule was about and could do nothing with, the latest first")
                .description("They stay in the log, at the offset that is named.")
                .answers::<Page<Miss>>(200, "a page")
        })
        .post("/api/notify/rules:apply", apply, |op| {
            op.summary("Apply rules that are known together, such as those of a file")
                .description("All or none. What changed since they were last applied is saved, what is not among them any more is \
                     taken away, what was changed by hand meanwhile stays.")
                .answers::<AppliedRules>(200, "what changed")
                .refuses(&[Code::Conflict])
        })
}

async fn list(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Query(query): Query<ListRules>,
) -> Result<Json<Page<RuleVersion>>, Problem> {
    Ok(Json(ctx.query(query).await?))
}

async fn get(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(rule): Path<String>,
    Query(Which { version }): Query<Which>,
) -> Result<impl IntoResponse, Problem> {
    let rule = ctx.query(GetRule { rule, version }).await?;
    let reading = reading(&ctx, &rule).await?;
    Ok((etag(u64::from(rule.version)), Json(Seen { rule, reading })))
}

async fn reading(ctx: &Ctx, rule: &RuleVersion) -> Result<Option<Reading>, Fault> {
    if rule.since.is_none() {
        return Ok(None);
    }
    let group = group_of(&rule.body.on.topic);
    let found = ctx.groups().list().await?.into_iter().find(|known| known.name == group);
    Ok(found.map(|known| Reading {
        group: known.full_name,
        running: known.state == GroupState::Running,
        lag: known.lag,
        error: known.error,
    }))
}

/// A topic that is misspelt would never have a message.
async fn topic_exists(ctx: &Ctx, field: &str, body: &RuleBody) -> Result<(), Fault> {
    if !body.enabled {
        return Ok(());
    }
    let topic = &body.on.topic;
    match ctx.topics().bus().describe(topic).await {
        Ok(_) => Ok(()),
        Err(BusError::UnknownTopic(_)) => {
            let short: String = topic.chars().take(60).collect();
            let reason = format!(
                "topic '{short}' does not exist; make it first, or save the rule with enabled = false"
            );
            Err(Fault::field(field, reason))
        }
        Err(error) => Err(error.into()),
    }
}

async fn put(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(rule): Path<String>,
    Expected(expected): Expected,
    Json(body): Json<RuleBody>,
) -> Result<Response, Problem> {
    topic_exists(&ctx, "on.topic", &body).await?;
    let command = PutRule { rule, body, by: caller.name.to_string(), expected };
    let saved = ctx.ask_as(command, asked(&caller.name, &info)).await.map_err(refused)?;
    Ok(answer(saved.created, u64::from(saved.version), saved))
}

async fn remove(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Path(rule): Path<String>,
    Expected(expected): Expected,
) -> Result<StatusCode, Problem> {
    let command = RemoveRule { rule, by: caller.name.to_string(), expected };
    ctx.ask_as(command, asked(&caller.name, &info)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn try_out(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(rule): Path<String>,
    Json(Trial { body, event, at }): Json<Trial>,
) -> Result<Json<TriedRule>, Problem> {
    Ok(Json(ctx.query(TryRule { rule, body, event, at }).await?))
}

async fn misses(
    State(ctx): State<Ctx>,
    _: Needs<Read>,
    Path(rule): Path<String>,
    Query(Part { limit, cursor }): Query<Part>,
) -> Result<Json<Page<Miss>>, Problem> {
    Ok(Json(ctx.query(ListMisses { rule, limit, cursor }).await?))
}

async fn apply(
    State(ctx): State<Ctx>,
    caller: Needs<Produce>,
    info: RequestInfo,
    Json(Set { source, rules }): Json<Set>,
) -> Result<Json<AppliedRules>, Problem> {
    // Many rules are about few topics: the log is asked once for each.
    let mut seen = BTreeSet::new();
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.body.enabled) {
        if !seen.insert(&rule.body.on.topic) {
            continue;
        }
        topic_exists(&ctx, &format!("rules[{at}].body.on.topic"), &rule.body).await?;
    }
    let command = ApplyRules { source, rules, by: caller.name.to_string() };
    Ok(Json(ctx.ask_as(command, asked(&caller.name, &info)).await?))
}
