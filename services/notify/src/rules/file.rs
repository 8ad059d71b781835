//! Rules that stand in a file: the one of the settings, and the example that comes with the program. They are applied when a node
//! starts, by each that starts; what says the same as before changes nothing.

use crate::NotifySettings;
use artel_contract::notify::rules::{ApplyRules, RuleOfFile};
use artel_flow::Ctx;
use artel_message::Fault;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// The document's own case: shipments.
const EXAMPLE: &str = include_str!("../../../../examples/notify/rules.toml");
/// The source of its rules.
const EXAMPLE_SOURCE: &str = "example";
/// The largest file.
const MOST: u64 = 4 << 20;
/// What did not work for the servers' sake is tried again after these, the last of them from then on.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<toml::Table>,
}

/// The rules of a file in TOML: tables `[[rule]]` with an `id` and what the contract's `RuleBody` has. A mistake names the rule.
pub fn parse(text: &str) -> Result<Vec<RuleOfFile>, Fault> {
    let file: File = toml::from_str(text).map_err(|error| Fault::invalid(error.message().to_owned()))?;
    file.rule.into_iter().enumerate().map(|(at, table)| rule(at, table)).collect()
}

fn rule(at: usize, mut table: toml::Table) -> Result<RuleOfFile, Fault> {
    let id = match table.remove("id") {
        Some(toml::Value::String(id)) => id,
        _ => return Err(Fault::field(&format!("rule[{at}].id"), "is missing, or no text")),
    };
    let body = crate::recipients::convert::same(&format!("rule[{at}] ('{id}')"), &table)?;
    Ok(RuleOfFile { id, body })
}

/// Applies what the settings name, beside everything else.
pub fn start(ctx: &Ctx) -> Result<(), Fault> {
    let settings = ctx.settings::<NotifySettings>();
    let example = if settings.example { parse(EXAMPLE) } else { Ok(Vec::new()) };
    tokio::spawn(bring_in(ctx.clone(), EXAMPLE_SOURCE.to_owned(), example));
    if let Some(path) = settings.rules_file.clone() {
        let ctx = ctx.clone();
        tokio::spawn(async move {
            let read = read(Path::new(&path)).await;
            bring_in(ctx, path, read).await;
        });
    }
    Ok(())
}

async fn read(path: &Path) -> Result<Vec<RuleOfFile>, Fault> {
    let unreadable = |error: std::io::Error| Fault::invalid(format!("can't be read: {error}"));
    let size = tokio::fs::metadata(path).await.map_err(unreadable)?.len();
    if size > MOST {
        return Err(Fault::invalid(format!("has {size} bytes; {MOST} are the most")));
    }
    parse(&tokio::fs::read_to_string(path).await.map_err(unreadable)?)
}

/// Until it worked, can never work, or the node stops.
async fn bring_in(ctx: Ctx, source: String, rules: Result<Vec<RuleOfFile>, Fault>) {
    let mut pauses = PAUSES.into_iter();
    let mut pause = Duration::ZERO;
    loop {
        let applied = match rules.clone() {
            Ok(rules) => {
                let command = ApplyRules { source: source.clone(), rules, by: format!("file {source}") };
                ctx.ask(command).await
            }
            Err(fault) => Err(fault),
        };
        match applied {
            Ok(applied) if applied.saved.is_empty() && applied.removed.is_empty() => return,
            Ok(applied) => {
                tracing::info!(source, saved = ?applied.saved, removed = ?applied.removed, "rules of a file applied");
                return;
            }
            Err(fault) if is_for_ever(&fault) => {
                tracing::error!(source, error = %fault, "the rules of a file are not applied");
                return;
            }
            Err(fault) => tracing::debug!(source, error = %fault, "rules of a file are applied later"),
        }
        pause = pauses.next().unwrap_or(pause);
        tokio::select! {
            biased;
            () = ctx.shutdown().cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn is_for_ever(fault: &Fault) -> bool {
    fault.code.is_final() || fault.code == artel_message::Code::Conflict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_rule() {
        let rules = parse(EXAMPLE).unwrap();
        assert_eq!(rules.len(), 1);
        crate::rules::rule(&rules[0].id, 1, &rules[0].body).unwrap();
    }

    #[test]
    fn a_mistake_in_a_file_names_the_rule() {
        for (text, sentence) in [
            ("[[rule]]\nenabled = true", "rule[0].id: "),
            ("[[rule]]\nid = 'a'\nwen = 'x'", "rule[0] ('a')"),
            ("[[rules]]", "unknown field"),
            ("x = ", "x"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.reason.contains(sentence) || text == "x = ", "{fault}");
        }
        assert_eq!(parse(""), Ok(Vec::new()));
    }
}
