//! The page, and what it may do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

pub(super) const HTML: &str = include_str!("page.html");

pub(super) struct Page {
    /// `Content-Security-Policy`: only its own script and style, which are named by their hashes, and only this server.
    pub(super) policy: String,
}

impl Page {
    pub(super) fn new() -> Page {
        let hash = |tag: &str| {
            let hashed = digest(&SHA256, between(HTML, tag).as_bytes());
            format!("'sha256-{}'", STANDARD.encode(hashed))
        };
        Page {
            policy: format!(
                "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; frame-src 'self'; img-src data:; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
                hash("script"),
                hash("style")
            ),
        }
    }
}

/// The text of the only element with that name.
fn between<'a>(html: &'a str, tag: &str) -> &'a str {
    let (begin, end) = (format!("<{tag}>"), format!("</{tag}>"));
    html.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_script_and_one_style_and_nothing_from_elsewhere() {
        for tag in ["script", "style"] {
            assert_eq!(HTML.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(between(HTML, tag).len() > 1_000, "{tag}");
        }
        for foreign in ["http://", "https://", "innerHTML", "insertAdjacent", "document.write", " style=\""] {
            assert!(!HTML.contains(foreign), "{foreign}");
        }
    }
}
