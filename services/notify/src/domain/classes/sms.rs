//! Twilio, SMSC.ru and SMS.ru. Their codes come in an answer or, of Twilio, in a later report: with any status.

use super::{Class, Key, Row, Scope};
use crate::domain::suppression::Reason;

const DAY: u64 = 86_400;

const fn said(code: &'static str) -> Key {
    Key::Http { from: 0, to: 999, code, host: "" }
}

const fn status(from: u16, to: u16) -> Key {
    Key::Http { from, to, code: "", host: "" }
}

/// An error of the provider's, with its own code.
const fn failed(code: &'static str) -> Key {
    Key::Http { from: 500, to: 599, code, host: "" }
}

pub(super) const TWILIO: &[Row] = &[
    Row::new(said("20429"), Class::Throttled(Scope::Account), "too many requests", "слишком много запросов"),
    Row::new(
        said("30001"),
        Class::Throttled(Scope::Account),
        "the queue of the sender is full",
        "очередь отправителя переполнена",
    ),
    Row::new(
        said("21611"),
        Class::Throttled(Scope::Account),
        "the queue of the sender is full",
        "очередь отправителя переполнена",
    ),
    Row::new(said("30003"), Class::Retry, "the handset is not reachable", "телефон недоступен")
        .wait(900)
        .tries(3),
    Row::new(said("30005"), Class::Suppress, "the number is not in use", "номер не обслуживается")
        .suppress(Reason::BadNumber),
    Row::new(
        said("30006"),
        Class::Suppress,
        "a landline, or a carrier that can't be reached",
        "стационарный номер или недоступный оператор",
    )
    .suppress(Reason::NotMobile),
    Row::new(said("21635"), Class::Suppress, "a landline", "стационарный номер").suppress(Reason::NotMobile),
    Row::new(said("21211"), Class::Suppress, "the number is wrong", "неверный номер")
        .suppress(Reason::BadNumber),
    Row::new(said("21614"), Class::Suppress, "no mobile number", "не мобильный номер")
        .suppress(Reason::NotMobile),
    Row::new(
        said("21612"),
        Class::Suppress,
        "the number can't be reached from this sender",
        "номер недоступен с этого отправителя",
    )
    .suppress(Reason::BadNumber),
    Row::new(said("21610"), Class::Suppress, "the recipient has unsubscribed", "получатель отписался")
        .suppress(Reason::Unsubscribed),
    Row::new(said("30007"), Class::Permanent, "filtered by the carrier", "отфильтровано оператором"),
    // Again only where it still means something: the policy looks at the validity first.
    Row::new(said("30036"), Class::Retry, "its validity has run out", "истёк срок жизни сообщения").tries(2),
    Row::new(said("20003"), Class::Config, "wrong credentials", "неверные ключи доступа"),
    Row::new(
        said("21606"),
        Class::Config,
        "the sender can't send messages",
        "отправитель не может слать сообщения",
    ),
    Row::new(status(200, 299), Class::Accepted, "taken", "принято"),
    Row::new(
        status(429, 429),
        Class::Throttled(Scope::Account),
        "too many requests",
        "слишком много запросов",
    ),
    Row::new(status(401, 401), Class::Config, "wrong credentials", "неверные ключи доступа"),
    // Its own codes: it has looked at the request and has not taken it.
    Row::new(failed("20500"), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
    Row::new(failed("20503"), Class::Retry, "the provider is not available", "провайдер временно недоступен"),
    // Without one of these somebody on the way may have said it: the provider may have the message, and does not know a second one
    // from the first.
    Row::new(
        status(500, 599),
        Class::Ambiguous,
        "an error on the way, or behind it",
        "сбой по пути к провайдеру или у него",
    ),
    Row::new(status(400, 499), Class::Permanent, "refused for good", "отклонено окончательно"),
];

/// `error_code` of SMSC.ru.
pub(super) const SMSC: &[Row] = &[
    Row::new(said("1"), Class::Permanent, "an error in the parameters", "ошибка в параметрах"),
    Row::new(said("2"), Class::Config, "wrong login or password", "неверный логин или пароль"),
    Row::new(said("3"), Class::Config, "no funds on the account", "недостаточно средств на счёте"),
    // A storm of retries is what causes it.
    Row::new(
        said("4"),
        Class::Config,
        "our address is blocked for frequent errors",
        "IP-адрес заблокирован за частые ошибки",
    )
    .wait(3_600),
    Row::new(said("5"), Class::Permanent, "the date's format is wrong", "неверный формат даты"),
    Row::new(
        said("6"),
        Class::Permanent,
        "the text or the sender is banned",
        "текст или имя отправителя запрещены",
    ),
    Row::new(said("7"), Class::Suppress, "the number's format is wrong", "неверный формат номера")
        .suppress(Reason::BadNumber),
    Row::new(
        said("8"),
        Class::Suppress,
        "it can't be delivered to this number",
        "на этот номер доставить нельзя",
    )
    .suppress(Reason::BadNumber),
    Row::new(
        said("9"),
        Class::Accepted,
        "the same request was made before",
        "такой же запрос уже был принят",
    ),
    Row::new(status(200, 299), Class::Accepted, "taken", "принято"),
    Row::new(
        status(504, 504),
        Class::Ambiguous,
        "a gateway stopped waiting for the provider",
        "шлюз не дождался провайдера",
    ),
    Row::new(status(500, 599), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
];

/// `status_code` of SMS.ru.
pub(super) const SMS_RU: &[Row] = &[
    Row::new(said("100"), Class::Accepted, "taken", "принято"),
    Row::new(said("220"), Class::Retry, "the service is not available", "сервис временно недоступен"),
    Row::new(said("500"), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
    Row::new(
        said("230"),
        Class::Throttled(Scope::Recipient),
        "the day's limit of this number is reached",
        "достигнут суточный лимит номера",
    )
    .wait(DAY),
    Row::new(
        said("231"),
        Class::RetryAfter,
        "the same text to this number within a minute",
        "такое же сообщение на номер в течение минуты",
    )
    .wait(61),
    Row::new(
        said("232"),
        Class::Accepted,
        "the same text to this number on this day",
        "такое же сообщение на номер за сутки",
    ),
    Row::new(
        said("233"),
        Class::Accepted,
        "the same code to this number again",
        "повторная отправка кода на номер",
    ),
    Row::new(said("200"), Class::Config, "wrong api_id", "неверный api_id"),
    Row::new(said("201"), Class::Config, "no funds on the account", "недостаточно средств на счёте"),
    Row::new(
        said("204"),
        Class::Config,
        "the operator is not connected to this account",
        "оператор не подключён",
    ),
    Row::new(
        said("206"),
        Class::Config,
        "the day's limit of the account is reached",
        "исчерпан суточный лимит аккаунта",
    )
    .wait(3_600),
    Row::new(said("300"), Class::Config, "wrong token", "неверный токен"),
    Row::new(said("301"), Class::Config, "wrong login or password", "неверный логин или пароль"),
    Row::new(said("302"), Class::Config, "the account is not confirmed", "аккаунт не подтверждён"),
    Row::new(
        said("202"),
        Class::Suppress,
        "the number is wrong, or there is no way to it",
        "неверный номер или нет маршрута",
    )
    .suppress(Reason::BadNumber),
    Row::new(said("207"), Class::Suppress, "there is no way to this number", "нет маршрута на этот номер")
        .suppress(Reason::BadNumber),
    Row::new(said("209"), Class::Suppress, "the number is on our own stop list", "номер в нашем стоп-листе")
        .suppress(Reason::StopListed),
    Row::new(said("203"), Class::Permanent, "the text is empty", "пустой текст"),
    Row::new(said("205"), Class::Permanent, "the text is too long", "слишком длинный текст"),
    Row::new(said("208"), Class::Permanent, "the time parameter is wrong", "неверный параметр time"),
    Row::new(said("212"), Class::Permanent, "the text is not in UTF-8", "текст не в UTF-8"),
    Row::new(said("213"), Class::Permanent, "there are too many numbers", "слишком много номеров"),
    Row::new(status(200, 299), Class::Accepted, "taken", "принято"),
    Row::new(
        status(504, 504),
        Class::Ambiguous,
        "a gateway stopped waiting for the provider",
        "шлюз не дождался провайдера",
    ),
    Row::new(status(500, 599), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
];
