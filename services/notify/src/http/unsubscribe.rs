//! What links in messages lead to: a page with a button for people, and one click for their mail programs (RFC 8058).

use crate::NotifySettings;
use crate::domain::opt_out::Link;
use crate::recipients::opt_out::{About, AboutLink, OptOut};
use artel_contract::notify::Channel;
use artel_flow::{Asked, Ctx};
use artel_frame::edge::{Path, Problem, RequestInfo, Routes, status_of};
use artel_message::{Code, Fault};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minijinja::{Environment, context};

/// Who it is, in the mediator's words: whoever has the link.
const CALLER: &str = "unsubscribe-link";
const FIELD: &str = "List-Unsubscribe";
const ONE_CLICK: &str = "One-Click";
/// Of the page's own button.
const AGAIN: &str = "Again";
/// Nothing but its own style, and its form to itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const PAGE: &str = include_str!("unsubscribe.html");

pub fn routes() -> Routes<Ctx> {
    Routes::new()
        .get("/api/notify/unsubscribe/{token}", look, |op| {
            op.summary("See what a link in a message turns off")
                .description("A page with a button; nothing is changed by looking at it.")
                .answers_raw::<String>(200, "text/html", "the page")
                .refuses(&[Code::NotFound])
                .open()
        })
        .post("/api/notify/unsubscribe/{token}", change, |op| {
            op.summary("Turn off what a message is about (RFC 8058, one click)")
                .description("For whoever got it, over the channel that it came by. The body is `List-Unsubscribe=One-Click`; \
                     `List-Unsubscribe=Again` takes it back.")
                .raw_body::<String>("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click")
                .answers_raw::<String>(200, "text/html", "it is off, also where it was before")
                .refuses(&[Code::NotFound])
                .open()
        })
}

async fn look(
    State(ctx): State<Ctx>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let shown = async {
        let about = ctx.query(AboutLink::from(link(&ctx, &token)?)).await?;
        Ok(page(&headers, &Shown::Ask(about)))
    };
    shown.await.or_else(|fault| refused(&headers, fault))
}

async fn change(
    State(ctx): State<Ctx>,
    Path(token): Path<String>,
    info: RequestInfo,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let changed = async {
        let Link { delivery, leg } = link(&ctx, &token)?;
        let out = wants_out(&body)?;
        let asked = Asked::by(CALLER).trace(Some(info.trace.to_string()));
        let about = ctx.ask_as(OptOut { delivery, leg, out }, asked).await?;
        Ok(page(&headers, &if out { Shown::Off(about) } else { Shown::On(about) }))
    };
    changed.await.or_else(|fault| refused(&headers, fault))
}

fn link(ctx: &Ctx, token: &str) -> Result<Link, Fault> {
    let settings = ctx.settings::<NotifySettings>();
    let links = settings
        .links()
        .ok_or_else(|| Fault::not_found("links of this kind are not set up here (notify.public_url)"))?;
    let bad = || Fault::not_found("token: this link is none of ours, or not whole; copy all of it");
    links.keys().link(token).ok_or_else(bad)
}

/// What the body says: a form, in either of the two ways that there are.
fn wants_out(body: &[u8]) -> Result<bool, Fault> {
    let text = String::from_utf8_lossy(body);
    let said = |value: &str| {
        let pair = format!("{FIELD}={value}");
        // RFC 7578: the part's header, an empty line, the value.
        let part = text.split_once(&format!("name=\"{FIELD}\"")).map(|(_, rest)| rest);
        let part = part.and_then(|rest| rest.split_once("\r\n\r\n")).map(|(_, rest)| rest);
        text.trim().split('&').any(|own| own == pair)
            || part.is_some_and(|rest| rest.split("\r\n").next() == Some(value))
    };
    match (said(ONE_CLICK), said(AGAIN)) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err(Fault::field(FIELD, format!("the body has to be {FIELD}={ONE_CLICK}"))),
    }
}

/// A page's state.
enum Shown {
    Ask(About),
    Off(About),
    On(About),
    /// With its status.
    Nothing(StatusCode),
}

/// People see a page, programs a problem document.
fn refused(headers: &HeaderMap, fault: Fault) -> Result<Response, Problem> {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    match fault.code {
        Code::NotFound if accepts.contains("text/html") => {
            Ok(page(headers, &Shown::Nothing(status_of(&fault))))
        }
        _ => Err(fault.into()),
    }
}

/// Russian or not: as the message was, or as the browser asks for.
fn is_russian(headers: &HeaderMap, shown: &Shown) -> bool {
    let own = match shown {
        Shown::Ask(about) | Shown::Off(about) | Shown::On(about) => about.language.as_deref(),
        Shown::Nothing(_) => None,
    };
    let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    own.or(asked).is_some_and(|tag| tag.trim_start().to_ascii_lowercase().starts_with("ru"))
}

fn page(headers: &HeaderMap, shown: &Shown) -> Response {
    let russian = is_russian(headers, shown);
    let status = if let Shown::Nothing(status) = shown { *status } else { StatusCode::OK };
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    match html(russian, shown) {
        Ok(html) => (status, headers, html).into_response(),
        Err(error) => Problem::from(Fault::internal(error.to_string())).into_response(),
    }
}

fn html(russian: bool, shown: &Shown) -> Result<String, minijinja::Error> {
    let words = words(russian, shown);
    let (topic, address) = match shown {
        Shown::Ask(about) | Shown::Off(about) | Shown::On(about) => (&*about.topic, &*about.address),
        Shown::Nothing(_) => ("", ""),
    };
    let value = if matches!(shown, Shown::Off(_)) { AGAIN } else { ONE_CLICK };
    Environment::new().render_named_str(
        "unsubscribe.html",
        PAGE,
        context! {
            lang => if russian { "ru" } else { "en" },
            title => words.title, text => words.text, button => words.button, note => words.note,
            topic, address, field => FIELD, value, quiet => value == AGAIN,
        },
    )
}

struct Words {
    title: &'static str,
    text: &'static str,
    /// Empty where there is none.
    button: &'static str,
    note: &'static str,
}

fn words(russian: bool, shown: &Shown) -> Words {
    let mail = |about: &About| about.channel == Channel::Email;
    let [title, text, button, note] = match (shown, russian) {
        (Shown::Ask(about), false) if mail(about) => {
            ["Unsubscribe?", "No more mails about this will be sent to you.", "Unsubscribe", ""]
        }
        (Shown::Ask(_), false) => {
            ["Turn it off?", "No more messages about this will be sent to you this way.", "Turn off", ""]
        }
        (Shown::Ask(about), true) if mail(about) => {
            ["Отписаться?", "Писем об этом больше не будет.", "Отписаться", ""]
        }
        (Shown::Ask(_), true) => {
            ["Отключить?", "Сообщений об этом таким способом больше не будет.", "Отключить", ""]
        }
        (Shown::Off(_), false) => [
            "Done",
            "No more messages about this will be sent to you this way.",
            "Turn on again",
            "What is on its way already may still arrive.",
        ],
        (Shown::Off(_), true) => [
            "Готово",
            "Сообщений об этом таким способом больше не будет.",
            "Включить снова",
            "То, что уже отправлено, может ещё прийти.",
        ],
        (Shown::On(_), false) => ["It is on again", "You will hear of this again.", "Unsubscribe", ""],
        (Shown::On(_), true) => ["Снова включено", "Сообщения об этом будут приходить.", "Отписаться", ""],
        (Shown::Nothing(_), false) => [
            "This link does not work",
            "It is not whole, or its message is not kept any more. Copy all of it, or use the link of a later message.",
            "",
            "",
        ],
        (Shown::Nothing(_), true) => [
            "Ссылка не работает",
            "Она неполная, или её сообщение уже удалено. Скопируйте её целиком или откройте ссылку из более нового сообщения.",
            "",
            "",
        ],
    };
    Words { title, text, button, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_mail_programs_and_browsers_send_them() {
        let multipart = |value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{FIELD}\"\r\n\r\n{value}\r\n--b--\r\n")
        };
        for (body, wanted) in [
            ("List-Unsubscribe=One-Click".to_owned(), Some(true)),
            ("List-Unsubscribe=One-Click\r\n".to_owned(), Some(true)),
            ("a=b&List-Unsubscribe=Again".to_owned(), Some(false)),
            (multipart(ONE_CLICK), Some(true)),
            (multipart(AGAIN), Some(false)),
            (multipart("One-Clicks"), None),
            (String::new(), None),
            ("List-Unsubscribe=One-Clicks".to_owned(), None),
            ("xList-Unsubscribe=One-Click".to_owned(), None),
        ] {
            assert_eq!(wants_out(body.as_bytes()).ok(), wanted, "{body}");
        }
    }

    #[test]
    fn a_page_shows_nothing_as_it_is_that_others_wrote() {
        let about = About {
            topic: "<script>".to_owned(),
            channel: Channel::Email,
            address: "i***@example.com".to_owned(),
            language: None,
        };
        for russian in [false, true] {
            let html = html(russian, &Shown::Ask(about.clone())).unwrap();
            assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
            assert!(html.contains("value=\"One-Click\"") && html.contains("i***@example.com"), "{html}");
            let html = self::html(russian, &Shown::Nothing(StatusCode::NOT_FOUND)).unwrap();
            assert!(!html.contains("<form"), "{html}");
        }
    }
}
