//! MJML to HTML, once, when a template is saved. Jinja's tags are taken out before and put back afterwards, so that neither
//! language has to know the other one.

use crate::domain::schema::nearest;
use mrml::prelude::parser::{Error, ParserOptions};
use mrml::prelude::render::RenderOptions;

/// The HTML with Jinja's tags where they were; the line (0 = unknown) and the reason otherwise.
pub(super) fn to_html(source: &str) -> Result<String, (usize, String)> {
    let (bare, tags) = take_out(source)?;
    known_elements(&bare)?;
    // No loader: nothing is read from anywhere.
    let parsed =
        mrml::parse_with_options(&bare, &ParserOptions::default()).map_err(|error| explain(&error, &bare))?;
    if let Some(warning) = parsed.warnings.first() {
        return Err((line_of(&bare, warning.span.start), format!("{}; mistyped?", warning.kind)));
    }
    // No fonts from elsewhere: a mail that loads something tells somebody that it was read.
    let options = RenderOptions {
        disable_comments: true,
        fonts: std::collections::HashMap::new(),
        ..RenderOptions::default()
    };
    let html = parsed.element.render(&options).map_err(|error| (0, format!("{error}")))?;
    put_back(&html, &tags)
}

/// Elements of MJML; mj-include is not among them, for nothing is read from anywhere.
const ELEMENTS: [&str; 33] = [
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-breakpoint",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-section",
    "mj-social",
    "mj-social-element",
    "mj-spacer",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-title",
    "mj-wrapper",
    "mjml",
];

/// The parser lets elements that it does not know through as if they were HTML; those of MJML's own kind are mistakes.
fn known_elements(source: &str) -> Result<(), (usize, String)> {
    for (at, _) in source.match_indices("<mj") {
        let name: String =
            source[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        if name == "mj-include" {
            return Err((line_of(source, at), "mj-include loads nothing here".to_owned()));
        }
        if !ELEMENTS.contains(&name.as_str()) {
            let near = nearest(&name, ELEMENTS.into_iter());
            let hint = near.map_or(String::new(), |near| format!("; did you mean <{near}>?"));
            return Err((line_of(source, at), format!("there is no element <{name}>{hint}")));
        }
    }
    Ok(())
}

fn mark(number: usize) -> String {
    format!("JinjaTag{number:05}x")
}

/// Each tag becomes a word with as many line ends as it had, so that lines stay what they were.
fn take_out(source: &str) -> Result<(String, Vec<String>), (usize, String)> {
    if source.contains("JinjaTag") {
        return Err((0, "holds the word JinjaTag, which is ours".to_owned()));
    }
    let (mut bare, mut tags, mut rest) = (String::with_capacity(source.len()), Vec::new(), source);
    while let Some(open) = ["{{", "{%", "{#"].iter().filter_map(|mark| rest.find(mark)).min() {
        let close = match &rest[open..open + 2] {
            "{{" => "}}",
            "{%" => "%}",
            _ => "#}",
        };
        let length = rest[open..].find(close).map(|at| at + 2);
        let end = length
            .map(|length| open + length)
            .ok_or((line_of(source, source.len() - rest.len() + open), "a tag is not closed".to_owned()))?;
        bare.push_str(&rest[..open]);
        bare.push_str(&mark(tags.len()));
        bare.extend(rest[open..end].chars().filter(|c| *c == '\n'));
        tags.push(rest[open..end].to_owned());
        rest = &rest[end..];
    }
    bare.push_str(rest);
    Ok((bare, tags))
}

fn put_back(html: &str, tags: &[String]) -> Result<String, (usize, String)> {
    let mut whole = html.to_owned();
    for (number, tag) in tags.iter().enumerate() {
        let mark = mark(number);
        if !whole.contains(&mark) {
            return Err((
                0,
                format!(
                    "the tag {} stands where MJML drops it; put it into a text, an attribute's value or <mj-raw>",
                    short(tag)
                ),
            ));
        }
        whole = whole.replace(&mark, tag);
    }
    Ok(whole)
}

fn short(tag: &str) -> String {
    tag.chars().take(60).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at.min(text.len())).unwrap_or_default();
    before.iter().filter(|b| **b == b'\n').count() + 1
}

fn explain(error: &Error, source: &str) -> (usize, String) {
    let (position, reason) = match error {
        Error::UnexpectedElement { position, .. } => {
            (Some(position), "this element is not allowed here".to_owned())
        }
        Error::UnexpectedToken { position, .. } => (
            Some(position),
            "this is not allowed here; tags of Jinja between elements stand in <mj-raw>".to_owned(),
        ),
        Error::MissingAttribute { name, position, .. } => {
            (Some(position), format!("the attribute '{name}' is missing"))
        }
        Error::InvalidAttribute { position, .. } => {
            (Some(position), "this attribute is not right".to_owned())
        }
        Error::InvalidFormat { position, .. } => (Some(position), "this is not right".to_owned()),
        Error::IncludeLoaderError { position, .. } => {
            (Some(position), "mj-include loads nothing here".to_owned())
        }
        Error::EndOfStream { .. } => (None, "it ends before its elements are closed".to_owned()),
        Error::NoRootNode => (None, "it has no <mjml>".to_owned()),
        other => (None, other.to_string()),
    };
    (position.map_or(0, |span| line_of(source, span.start)), reason)
}
