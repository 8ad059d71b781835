//! FCM HTTP v1, APNs and Web Push.

use super::{Class, Key, Row, Scope};
use crate::domain::suppression::Reason;

const fn said(status: u16, code: &'static str) -> Key {
    Key::Http { from: status, to: status, code, host: "" }
}

const fn any(from: u16, to: u16) -> Key {
    Key::Http { from, to, code: "", host: "" }
}

const fn token(code: &'static str) -> Key {
    Key::Http { from: 400, to: 401, code, host: "" }
}

/// FCM's `ErrorCode`, as [`super::code_of`] reads it. `INVALID_ARGUMENT` comes in two shapes: about the token, and about our
/// message. The second one says nothing against the token, which is kept.
pub(super) const FCM: &[Row] = &[
    Row::new(any(200, 299), Class::Accepted, "taken", "принято"),
    Row::new(
        said(404, "UNREGISTERED"),
        Class::Suppress,
        "the app is not there any more",
        "приложение удалено с устройства",
    )
    .suppress(Reason::TokenGone),
    Row::new(
        said(400, "INVALID_ARGUMENT token"),
        Class::Suppress,
        "the token is malformed",
        "ошибочный токен",
    )
    .suppress(Reason::TokenMalformed),
    Row::new(
        said(400, "INVALID_ARGUMENT message"),
        Class::Permanent,
        "the message is malformed",
        "ошибочное сообщение",
    ),
    Row::new(
        said(403, "SENDER_ID_MISMATCH"),
        Class::Suppress,
        "the token belongs to another sender",
        "токен принадлежит другому отправителю",
    )
    .suppress(Reason::TokenForeign),
    Row::new(
        said(401, "THIRD_PARTY_AUTH_ERROR"),
        Class::Config,
        "the certificate or key for Apple or the web is wrong",
        "неверный сертификат или ключ для Apple или веба",
    ),
    // The quota's window is a minute and does not begin with the clock's.
    Row::new(
        said(429, "QUOTA_EXCEEDED"),
        Class::Throttled(Scope::Account),
        "the quota is exceeded",
        "превышена квота",
    )
    .wait(60),
    Row::new(any(429, 429), Class::Throttled(Scope::Account), "too many requests", "слишком много запросов")
        .wait(60),
    Row::new(said(503, "UNAVAILABLE"), Class::Retry, "overloaded", "сервер перегружен"),
    Row::new(said(500, "INTERNAL"), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
    // Of the server that gives tokens (RFC 6749, section 5.2).
    Row::new(
        token("invalid_grant"),
        Class::Config,
        "the service account is refused",
        "сервисный аккаунт отклонён",
    ),
    Row::new(
        token("invalid_client"),
        Class::Config,
        "the service account is refused",
        "сервисный аккаунт отклонён",
    ),
    Row::new(
        token("unauthorized_client"),
        Class::Config,
        "the service account is refused",
        "сервисный аккаунт отклонён",
    ),
    Row::new(any(400, 400), Class::Permanent, "the request is malformed", "ошибочный запрос"),
    Row::new(any(401, 403), Class::Config, "the credentials are refused", "доступ отклонён"),
    Row::new(any(404, 404), Class::Config, "there is no such project", "проект не найден"),
    Row::new(any(500, 599), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
];

/// Apple's `reason` texts.
pub(super) const APNS: &[Row] = &[
    Row::new(any(200, 200), Class::Accepted, "taken", "принято"),
    // Only where its timestamp is later than our last registration; the caller compares.
    Row::new(
        said(410, "Unregistered"),
        Class::Suppress,
        "the app is not there any more",
        "приложение удалено с устройства",
    )
    .suppress(Reason::TokenGone),
    Row::new(said(410, "ExpiredToken"), Class::Suppress, "the token has expired", "срок токена истёк")
        .suppress(Reason::TokenGone),
    Row::new(
        said(400, "BadDeviceToken"),
        Class::Suppress,
        "the token is wrong, or of the other environment",
        "ошибочный токен или другое окружение",
    )
    .suppress(Reason::TokenMalformed),
    Row::new(
        said(400, "DeviceTokenNotForTopic"),
        Class::Suppress,
        "the token belongs to another app",
        "токен принадлежит другому приложению",
    )
    .suppress(Reason::TokenForeign),
    Row::new(
        said(403, "ExpiredProviderToken"),
        Class::Retry,
        "our key's token has expired",
        "срок нашего токена истёк",
    )
    .tries(2)
    .reconnect(),
    Row::new(said(403, "InvalidProviderToken"), Class::Config, "our key is refused", "наш ключ отклонён"),
    Row::new(
        said(429, "TooManyProviderTokenUpdates"),
        Class::Config,
        "our key's token is renewed too often",
        "наш токен обновляется слишком часто",
    )
    .wait(1_200),
    Row::new(
        said(429, "TooManyRequests"),
        Class::Throttled(Scope::Recipient),
        "too many messages to this device",
        "слишком много сообщений этому устройству",
    )
    .wait(60),
    Row::new(
        said(413, "PayloadTooLarge"),
        Class::Permanent,
        "the message is too large",
        "сообщение слишком велико",
    ),
    Row::new(said(400, "BadTopic"), Class::Permanent, "the topic is wrong", "неверная тема"),
    Row::new(
        said(400, "BadCollapseId"),
        Class::Permanent,
        "the collapse id is too long",
        "слишком длинный collapse id",
    ),
    Row::new(said(503, "Shutdown"), Class::Retry, "the server is shutting down", "сервер останавливается")
        .reconnect(),
    Row::new(
        said(400, "IdleTimeout"),
        Class::Retry,
        "the connection was idle for too long",
        "соединение простаивало",
    )
    .reconnect(),
    Row::new(any(500, 599), Class::Retry, "an error at the provider", "сбой на стороне провайдера")
        .reconnect(),
    Row::new(any(401, 403), Class::Config, "the credentials are refused", "доступ отклонён"),
    Row::new(any(400, 499), Class::Permanent, "refused for good", "отклонено окончательно"),
];

/// RFC 8030 names the statuses; push services differ in the rest.
pub(super) const WEB_PUSH: &[Row] = &[
    Row::new(any(200, 299), Class::Accepted, "taken", "принято"),
    Row::new(any(404, 404), Class::Suppress, "the subscription is not known", "подписка неизвестна")
        .suppress(Reason::TokenGone),
    Row::new(any(410, 410), Class::Suppress, "the subscription has ended", "подписка отменена")
        .suppress(Reason::TokenGone),
    // Windows' service says 406 for 429.
    Row::new(
        Key::Http { from: 406, to: 406, code: "", host: ".notify.windows.com" },
        Class::Throttled(Scope::Recipient),
        "too many messages to this browser",
        "слишком много сообщений этому браузеру",
    )
    .wait(60),
    Row::new(
        any(429, 429),
        Class::Throttled(Scope::Recipient),
        "too many messages to this browser",
        "слишком много сообщений этому браузеру",
    )
    .wait(60),
    Row::new(any(413, 413), Class::Permanent, "the message is too large", "сообщение слишком велико"),
    // None of these is about the account: whoever subscribes chooses who answers.
    Row::new(
        any(400, 400),
        Class::Permanent,
        "the push service refuses the request",
        "push-сервис отклонил запрос",
    ),
    Row::new(
        any(401, 401),
        Class::Retry,
        "the push service refuses our VAPID key",
        "push-сервис отклонил ключ VAPID",
    ),
    Row::new(
        any(403, 403),
        Class::Suppress,
        "our VAPID key is not the subscription's",
        "ключ VAPID не от этой подписки",
    )
    .suppress(Reason::TokenForeign),
    Row::new(any(500, 599), Class::Retry, "an error at the push service", "сбой push-сервиса"),
];
