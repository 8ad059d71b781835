//! MJML to HTML, once, when a template is saved. Jinja's tags are taken out before and put back afterwards, so that neither
//! language has to know the other one.

use super::tags::tags;
use crate::domain::schema::nearest;
use htmlparser::{ElementEnd, Token, Tokenizer};
use mrml::prelude::parser::{Error, ParserOptions};
use mrml::prelude::render::RenderOptions;

/// Elements of one text, how deep they stand in each other (the parser and the renderer go down by calling themselves), and Jinja's
/// tags in it.
const MOST_ELEMENTS: usize = 2_000;
const DEEPEST: usize = 100;
const MOST_TAGS: usize = 2_000;
/// Bytes of the attributes in `<mj-attributes>`: each element may have them all.
const MOST_SHARED: usize = 4 << 10;
/// Bytes of the HTML that it becomes.
const MOST_HTML: usize = 2 << 20;

/// The HTML with Jinja's tags where they were; the line (0 = unknown) and the reason otherwise.
pub(super) fn to_html(source: &str) -> Result<String, (usize, String)> {
    let (bare, tags) = take_out(source)?;
    known_elements(&bare)?;
    bounded(&bare)?;
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

/// As the parser will see it: by the tokens that it reads. What is no token is the parser's to explain.
fn bounded(source: &str) -> Result<(), (usize, String)> {
    let (mut depth, mut count, mut shared) = (0usize, 0usize, 0usize);
    let (mut open, mut sharing) = ("", false);
    for token in Tokenizer::from(source).map_while(Result::ok) {
        let too_much = match token {
            Token::ElementStart { local, span, .. } => {
                (open, count) = (local.as_str(), count + 1);
                sharing |= open == "mj-attributes";
                let reason = || format!("there are more than {MOST_ELEMENTS} elements");
                (count > MOST_ELEMENTS).then(|| (span.start(), reason()))
            }
            Token::Attribute { span, .. } => {
                shared += if sharing { span.as_str().len() } else { 0 };
                let reason = || format!("<mj-attributes> has more than {MOST_SHARED} bytes");
                (shared > MOST_SHARED).then(|| (span.start(), reason()))
            }
            Token::ElementEnd { end: ElementEnd::Open, span } => {
                depth += usize::from(!VOID.contains(&open));
                let reason = || format!("elements stand in each other more than {DEEPEST} deep");
                (depth > DEEPEST).then(|| (span.start(), reason()))
            }
            Token::ElementEnd { end: ElementEnd::Close(_, local), .. } => {
                depth = depth.saturating_sub(1);
                sharing &= local.as_str() != "mj-attributes";
                None
            }
            _ => None,
        };
        if let Some((at, reason)) = too_much {
            return Err((line_of(source, at), reason));
        }
    }
    Ok(())
}

/// Elements that have no end; the parser's own list.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];

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
    let (mut bare, mut taken, mut rest) = (String::with_capacity(source.len()), Vec::new(), 0);
    for tag in tags(source) {
        let tag = tag.map_err(|at| (line_of(source, at), "a tag is not closed".to_owned()))?;
        if taken.len() == MOST_TAGS {
            let reason = format!("there are more than {MOST_TAGS} tags of Jinja");
            return Err((line_of(source, tag.start), reason));
        }
        let text = &source[tag.clone()];
        bare.push_str(&source[rest..tag.start]);
        bare.push_str(&mark(taken.len()));
        bare.extend(text.chars().filter(|c| *c == '\n'));
        taken.push(text.to_owned());
        rest = tag.end;
    }
    bare.push_str(&source[rest..]);
    Ok((bare, taken))
}

/// Each tag may stand in several places by now.
fn put_back(html: &str, tags: &[String]) -> Result<String, (usize, String)> {
    let mut parts = html.split("JinjaTag");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    let mut seen = vec![false; tags.len()];
    for part in parts {
        let found =
            part.split_once('x').and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
        let Some((number, tag, rest)) = found.and_then(|(at, rest)| Some((at, tags.get(at)?, rest))) else {
            return Err((0, "a tag of Jinja stands where MJML changes it".to_owned()));
        };
        seen[number] = true;
        if whole.len() + tag.len() + rest.len() > MOST_HTML {
            return Err((0, format!("becomes more than {MOST_HTML} bytes of HTML")));
        }
        whole.push_str(tag);
        whole.push_str(rest);
    }
    match seen.iter().position(|seen| !seen) {
        None => Ok(whole),
        Some(dropped) => {
            let tag = short(&tags[dropped]);
            let reason = format!(
                "the tag {tag} stands where MJML drops it; put it into a text, an attribute's value or <mj-raw>"
            );
            Err((0, reason))
        }
    }
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
