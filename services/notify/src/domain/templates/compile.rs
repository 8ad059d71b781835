//! Compiling and filling texts, within bounds.

use super::seen::seen;
use super::{Body, Context, Markup, Problem, Rendered, Template, filters, mjml, subset};
use artel_contract::notify::{Channel, bounds, is_language};
use minijinja::{
    AutoEscape, Environment, ErrorKind, Template as JinjaText, UndefinedBehavior, Value as Jinja,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cell::Cell;
use std::io;

/// How much one text may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes of a text as it is written.
    pub source: usize,
    /// Instructions of one rendering.
    pub steps: u64,
    /// Bytes that filters are given which make texts and lists of them, in one rendering.
    pub filtered: usize,
    /// Bytes that come out.
    pub output: usize,
    /// Bytes of a push message's title, body and data together: FCM takes 4,096 for all of it, Web Push somewhat less.
    pub push: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { source: 256 << 10, steps: 100_000, filtered: 256 << 10, output: 512 << 10, push: 3_500 }
    }
}

/// Characters of a subject.
const MOST_SUBJECT: usize = 255;
const DEPTH: usize = 50;
/// Bytes that cost about as much as a step.
const BYTES_OF_STEP: u64 = 32;

/// A template whose texts are compiled, to be kept and used many times.
#[derive(Debug)]
pub struct Compiled {
    template: Template,
    bounds: Bounds,
    environment: Environment<'static>,
}

/// Why a text could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}{}: {reason}", if *line > 0 { format!(", line {line}") } else { String::new() })]
pub struct RenderError {
    pub part: String,
    /// From 1, 0 where it is about the part as a whole. Of MJML it counts in the HTML that it was made into.
    pub line: usize,
    pub reason: String,
}

impl Compiled {
    /// Compiles every text; all that is wrong otherwise.
    pub fn new(template: Template, bounds: Bounds) -> Result<Compiled, Vec<Problem>> {
        let mut problems = names(&template);
        let mut environment = environment(bounds);
        for (language, texts) in &template.languages {
            for (name, source) in texts.parts() {
                let html = texts.email.as_ref().and_then(|email| email.html.as_ref());
                let is_mjml = name == "email.html" && matches!(html, Some(Markup::Mjml(_)));
                let part = format!("{language}.{name}");
                problems.extend(add(&mut environment, bounds, &part, source, is_mjml).err());
            }
        }
        match problems.is_empty() {
            true => Ok(Compiled { template, bounds, environment }),
            false => Err(problems),
        }
    }

    pub fn template(&self) -> &Template {
        &self.template
    }

    pub(super) fn environment(&self) -> &Environment<'static> {
        &self.environment
    }

    /// A message for a channel, in the first language of the fallback chain that has texts for it.
    pub fn render(
        &self,
        channel: Channel,
        wanted: Option<&str>,
        message: &Value,
        context: &Context<'_>,
    ) -> Result<Rendered, RenderError> {
        self.render_counted(channel, wanted, message, context, &Cell::new(0))
    }

    /// The same, with what it took added to `spent`.
    pub(super) fn render_counted(
        &self,
        channel: Channel,
        wanted: Option<&str>,
        message: &Value,
        context: &Context<'_>,
        spent: &Cell<u64>,
    ) -> Result<Rendered, RenderError> {
        let chain = self.template.fallbacks(wanted);
        let has = |language: &&&str| self.template.languages.get(**language).is_some_and(|t| t.has(channel));
        let Some(language) = chain.iter().find(has) else {
            return Err(RenderError {
                part: channel.as_str().to_owned(),
                line: 0,
                reason: format!("the template '{}' has no text for it", self.template.id),
            });
        };
        let seen = seen(language, message, context);
        let body = self.body(channel, language, &seen, spent)?;
        Ok(Rendered { language: (*language).to_owned(), body })
    }

    fn body(
        &self,
        channel: Channel,
        language: &str,
        seen: &Jinja,
        spent: &Cell<u64>,
    ) -> Result<Body, RenderError> {
        let fill = |name: &str| self.fill(&format!("{language}.{name}"), seen, spent);
        let error =
            |name: &str, reason: String| RenderError { part: format!("{language}.{name}"), line: 0, reason };
        let texts = self.template.languages.get(language);
        match channel {
            Channel::Email => {
                let subject = one_line(&fill("email.subject")?);
                if subject.is_empty() || subject.chars().count() > MOST_SUBJECT {
                    let count = subject.chars().count();
                    return Err(error(
                        "email.subject",
                        format!("has {count} characters; 1 to {MOST_SUBJECT} are right"),
                    ));
                }
                let email = texts.and_then(|texts| texts.email.as_ref());
                let html = email.is_some_and(|email| email.html.is_some());
                let html = if html { Some(fill("email.html")?) } else { None };
                Ok(Body::Email { subject, text: tidy(&fill("email.text")?), html })
            }
            Channel::Sms => {
                let text = one_line(&fill("sms")?);
                match text.is_empty() {
                    true => Err(error("sms", "comes out empty".to_owned())),
                    false => Ok(Body::Sms { text }),
                }
            }
            Channel::Push => {
                let (title, body) = (one_line(&fill("push.title")?), tidy(&fill("push.body")?));
                let mut data = std::collections::BTreeMap::new();
                for name in
                    texts.iter().filter_map(|texts| texts.push.as_ref()).flat_map(|push| push.data.keys())
                {
                    data.insert(name.clone(), fill(&format!("push.data.{name}"))?);
                }
                let bytes =
                    title.len() + body.len() + data.iter().map(|(n, v)| n.len() + v.len() + 6).sum::<usize>();
                if bytes > self.bounds.push {
                    let reason =
                        format!("title, body and data have {bytes} bytes; {} are the most", self.bounds.push);
                    return Err(error("push", reason));
                }
                Ok(Body::Push { title, body, data })
            }
        }
    }

    fn fill(&self, part: &str, seen: &Jinja, spent: &Cell<u64>) -> Result<String, RenderError> {
        let template = self.environment.get_template(part).map_err(|error| self.failed(part, &error))?;
        self.run(part, &template, seen, spent)
    }

    /// Fills a text. What it took, in steps, is added to `spent`; one that fails counts for all that it may take.
    pub(super) fn run(
        &self,
        part: &str,
        template: &JinjaText<'_, '_>,
        seen: &Jinja,
        spent: &Cell<u64>,
    ) -> Result<String, RenderError> {
        let mut out = Bounded { bytes: Vec::new(), most: self.bounds.output };
        let filled = template.render_captured_to(seen.clone(), &mut out);
        let steps = filled.as_ref().ok().and_then(|filled| Some(filled.state().fuel_levels()?.0));
        let written = out.bytes.len() as u64 / BYTES_OF_STEP;
        spent.set(spent.get() + steps.unwrap_or(self.bounds.steps) + written);
        filled.map_err(|error| self.failed(part, &error))?;
        String::from_utf8(out.bytes).map_err(|_| RenderError {
            part: part.to_owned(),
            line: 0,
            reason: "comes out as no text".to_owned(),
        })
    }

    /// Nothing of the message gets into the error.
    fn failed(&self, part: &str, error: &minijinja::Error) -> RenderError {
        RenderError {
            part: part.to_owned(),
            line: error.line().unwrap_or(0),
            reason: match error.kind() {
                ErrorKind::OutOfFuel => format!("takes more than {} steps", self.bounds.steps),
                ErrorKind::WriteFailure => format!("comes out longer than {} bytes", self.bounds.output),
                _ => said(error),
            },
        }
    }
}

/// A writer that takes only so much.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compiles one text.
fn add(
    environment: &mut Environment<'static>,
    bounds: Bounds,
    part: &str,
    source: &str,
    is_mjml: bool,
) -> Result<(), Problem> {
    if source.len() > bounds.source {
        let reason = format!("is {} bytes long; {} are the most", source.len(), bounds.source);
        return Err(Problem::new(part, 0, reason));
    }
    // The text itself first, so that mistakes of Jinja have their lines in it.
    subset::check(part, source).map_err(|(line, reason)| Problem::new(part, line, reason))?;
    if let Err(error) = environment.template_from_named_str(part, source) {
        return Err(Problem::new(part, error.line().unwrap_or(0), said(&error)));
    }
    let mut text = source.to_owned();
    if is_mjml {
        text = mjml::to_html(source).map_err(|(line, reason)| Problem::new(part, line, reason))?;
        // MJML may move a tag out of what made it harmless, such as {% raw %}.
        subset::check(part, &text).map_err(|(_, reason)| Problem::new(part, 0, reason))?;
    }
    let added = environment.add_template_owned(part.to_owned(), text);
    added.map_err(|error| Problem::new(part, 0, said(&error)))
}

pub(super) fn environment(bounds: Bounds) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(bounds.steps));
    environment.set_recursion_limit(DEPTH);
    environment.set_auto_escape_callback(|part| match part.ends_with(".html") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    // What shows what is not meant for it, and what can hold something that grows.
    for global in ["debug", "namespace", "dict"] {
        environment.remove_global(global);
    }
    filters::add(&mut environment, bounds.filtered);
    environment
}

/// The sentence of an error without the place, which stands beside it.
fn said(error: &minijinja::Error) -> String {
    let reason = match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, Some(detail)) => format!("prints what is not there: {detail}"),
        (ErrorKind::UndefinedError, None) => "prints what is not there".to_owned(),
        (kind, Some(detail)) if kind == ErrorKind::SyntaxError || kind == ErrorKind::InvalidOperation => {
            detail.to_owned()
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    reason.chars().take(300).collect()
}

fn names(template: &Template) -> Vec<Problem> {
    let mut problems = Vec::new();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if template.id.is_empty() || template.id.len() > bounds::NAME || !template.id.chars().all(good) {
        problems.push(Problem::new("id", 0, "use 1 to 200 lowercase letters, digits, '-' and '.'"));
    }
    match template.languages.get(&template.default_language) {
        None => {
            let reason = format!("there are no texts in '{}'", template.default_language);
            problems.push(Problem::new("default_language", 0, reason));
        }
        Some(_) if template.channels().is_empty() => {
            problems.push(Problem::new(&template.default_language, 0, "has no text for any channel"));
        }
        Some(_) => {}
    }
    for (language, texts) in &template.languages {
        if !is_language(language) {
            problems.push(Problem::new(language, 0, "is no language tag; use one such as ru or en-GB"));
        }
        for (name, source) in texts.parts() {
            if source.trim().is_empty() {
                problems.push(Problem::new(&format!("{language}.{name}"), 0, "is empty"));
            }
        }
    }
    problems
}

/// One line, whatever was put into it: a line end in a subject would be a header.
fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c })
        .collect();
    plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Lines without spaces at their ends, at most one empty line in a row, and no control characters but line ends.
fn tidy(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let line: String = line.trim_end().chars().filter(|c| !c.is_control()).collect();
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line);
        }
    }
    lines.join("\n").trim().to_owned()
}
