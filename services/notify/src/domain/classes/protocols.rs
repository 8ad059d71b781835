//! SMTP, SES and SMPP, and what each protocol says of codes that no table has.

use super::{Answer, Class, Key, Row, Scope};
use crate::domain::suppression::Reason;

/// How far a request was when the connection failed or the time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing that the provider could act on was written: no connection, or a failure before the last byte (before SMTP's final
    /// dot, before the whole HTTP request, before the PDU).
    Before,
    /// All was written and nothing was heard.
    After,
}

const fn smtp(code: u16, enhanced: &'static str) -> Key {
    Key::Smtp { from: code, to: code, enhanced, text: "", sender: false }
}

const fn replies(from: u16, to: u16) -> Key {
    Key::Smtp { from, to, enhanced: "", text: "", sender: false }
}

/// Any refusal for good with this enhanced code.
const fn refused(enhanced: &'static str) -> Key {
    Key::Smtp { from: 500, to: 599, enhanced, text: "", sender: false }
}

/// Any reply with these words.
const fn words(code: u16, text: &'static str) -> Key {
    Key::Smtp { from: code, to: code, enhanced: "", text, sender: false }
}

/// In reply to MAIL FROM.
const fn sender(from: u16, to: u16) -> Key {
    Key::Smtp { from, to, enhanced: "", text: "", sender: true }
}

/// RFC 5321, section 4.2, and the enhanced codes of RFC 3463. Enhanced codes say more than the reply code, so they stand first.
pub(super) const SMTP: &[Row] = &[
    Row::new(replies(200, 399), Class::Accepted, "taken", "принято"),
    Row::new(
        smtp(421, ""),
        Class::Throttled(Scope::Account),
        "the server closes the connection and wants us to slow down",
        "сервер закрывает соединение и просит сбавить темп",
    )
    .reconnect(),
    Row::new(
        words(454, "throttling"),
        Class::Throttled(Scope::Account),
        "the rate is exceeded",
        "превышена скорость отправки",
    ),
    // In a reply to AUTH or STARTTLS.
    Row::new(
        smtp(454, ""),
        Class::Config,
        "temporary failure of authentication or TLS",
        "временный сбой авторизации или TLS",
    )
    .wait(60),
    // What is said of who sends is not held against who is to get it.
    Row::new(
        sender(400, 499),
        Class::Retry,
        "the sender is refused for now",
        "отправитель временно отклонён",
    ),
    Row::new(smtp(452, ".2.2"), Class::Retry, "the mailbox is full", "почтовый ящик переполнен").soft(),
    Row::new(
        smtp(450, ""),
        Class::Retry,
        "the mailbox is busy or greylisted",
        "ящик занят или включён серый список",
    ),
    Row::new(
        smtp(451, ""),
        Class::Retry,
        "an error in processing at the server",
        "ошибка обработки на сервере",
    ),
    Row::new(smtp(452, ""), Class::Retry, "the server is short of storage", "серверу не хватает места"),
    Row::new(
        refused("5.3.4"),
        Class::Permanent,
        "the message is larger than the server takes",
        "письмо больше, чем принимает сервер",
    ),
    Row::new(
        refused("5.2.3"),
        Class::Permanent,
        "the message is larger than the mailbox takes",
        "письмо больше, чем принимает ящик",
    ),
    Row::new(
        refused("5.6."),
        Class::Permanent,
        "the message can't be carried as it is written",
        "письмо нельзя передать в таком виде",
    ),
    Row::new(smtp(530, ""), Class::Config, "authentication is required", "требуется авторизация"),
    Row::new(
        smtp(534, ""),
        Class::Config,
        "this way of authentication is too weak",
        "способ авторизации слишком слабый",
    ),
    Row::new(smtp(535, ""), Class::Config, "wrong user or password", "неверный логин или пароль"),
    Row::new(
        smtp(538, ""),
        Class::Config,
        "authentication needs encryption",
        "авторизация требует шифрования",
    ),
    // RFC 1870, section 6.1.
    Row::new(
        sender(552, 552),
        Class::Permanent,
        "the message is larger than the server takes",
        "письмо больше, чем принимает сервер",
    ),
    Row::new(sender(500, 599), Class::Config, "the sender is refused", "отправитель отклонён"),
    // Servers that judge the sender only once there is a recipient.
    Row::new(refused("5.1.7"), Class::Config, "the sender is refused", "отправитель отклонён"),
    Row::new(refused("5.1.8"), Class::Config, "the sender's domain is refused", "домен отправителя отклонён"),
    Row::new(refused(".2.2"), Class::Retry, "the mailbox is full", "почтовый ящик переполнен")
        .soft()
        .wait(3_600),
    Row::new(smtp(552, ""), Class::Retry, "the mailbox is over its limit", "ящик превысил лимит")
        .soft()
        .wait(3_600),
    Row::new(refused("5.1.1"), Class::Suppress, "there is no such mailbox", "такого ящика нет")
        .suppress(Reason::HardBounce),
    Row::new(refused("5.1.10"), Class::Suppress, "the domain takes no mail", "домен не принимает почту")
        .suppress(Reason::HardBounce),
    Row::new(refused("5.2.1"), Class::Suppress, "the mailbox is disabled", "ящик отключён")
        .suppress(Reason::HardBounce),
    Row::new(
        // Of us, not of the address: reputation, DMARC, content.
        refused("5.7."),
        Class::Permanent,
        "refused by the server's policy",
        "отклонено политикой сервера",
    ),
    // Without an enhanced code it may mean the mailbox or the content: only some of them make the address a bad one.
    Row::new(smtp(550, ""), Class::Permanent, "the mailbox is not available", "ящик недоступен").soft(),
    Row::new(smtp(551, ""), Class::Suppress, "the user is not local", "пользователь не на этом сервере")
        .suppress(Reason::HardBounce),
    Row::new(smtp(553, ""), Class::Suppress, "the mailbox's name is not allowed", "недопустимое имя ящика")
        .suppress(Reason::HardBounce),
    Row::new(smtp(554, ""), Class::Permanent, "the transaction failed", "сервер отклонил письмо"),
    Row::new(replies(500, 599), Class::Permanent, "refused for good", "отклонено окончательно"),
    Row::new(replies(400, 499), Class::Retry, "refused for now", "временно отклонено"),
];

const fn api(from: u16, to: u16, code: &'static str) -> Key {
    Key::Http { from, to, code, host: "" }
}

/// Over SMTP and over the API: SES drops what it throttles and does not deliver it later, so it has to be sent again.
pub(super) const SES: &[Row] = &[
    Row::new(
        words(454, "daily"),
        Class::Throttled(Scope::Account),
        "the daily quota is used up",
        "исчерпана суточная квота",
    )
    .wait(600),
    Row::new(
        words(454, "throttling"),
        Class::Throttled(Scope::Account),
        "the rate is exceeded",
        "превышена скорость отправки",
    ),
    Row::new(
        words(554, "not verified"),
        Class::Config,
        "the sender is not verified",
        "отправитель не подтверждён",
    ),
    Row::new(replies(200, 399), Class::Accepted, "taken", "принято"),
    Row::new(
        replies(421, 421),
        Class::Throttled(Scope::Account),
        "too many connections",
        "слишком много соединений",
    )
    .reconnect(),
    Row::new(smtp(535, ""), Class::Config, "wrong user or password", "неверный логин или пароль"),
    Row::new(replies(400, 499), Class::Retry, "refused for now", "временно отклонено"),
    Row::new(replies(500, 599), Class::Permanent, "refused for good", "отклонено окончательно"),
    Row::new(api(200, 299, ""), Class::Accepted, "taken", "принято"),
    Row::new(
        api(0, 999, "ThrottlingException"),
        Class::Throttled(Scope::Account),
        "the rate or the daily quota is exceeded",
        "превышена скорость или суточная квота",
    ),
    Row::new(
        api(0, 999, "TooManyRequestsException"),
        Class::Throttled(Scope::Account),
        "the rate is exceeded",
        "превышена скорость отправки",
    ),
    Row::new(
        api(0, 999, "LimitExceededException"),
        Class::Throttled(Scope::Account),
        "a limit of the account is reached",
        "достигнут лимит учётной записи",
    )
    .wait(600),
    Row::new(
        api(0, 999, "AccountSuspendedException"),
        Class::Config,
        "the account is suspended",
        "учётная запись приостановлена",
    ),
    Row::new(
        api(0, 999, "SendingPausedException"),
        Class::Config,
        "sending is paused",
        "отправка приостановлена",
    ),
    Row::new(
        api(0, 999, "MailFromDomainNotVerifiedException"),
        Class::Config,
        "the sender's domain is not verified",
        "домен отправителя не подтверждён",
    ),
    Row::new(api(0, 999, "MessageRejected"), Class::Permanent, "the message was refused", "письмо отклонено"),
    Row::new(
        api(0, 999, "BadRequestException"),
        Class::Permanent,
        "the request is malformed",
        "ошибочный запрос",
    ),
    Row::new(api(401, 401, ""), Class::Config, "wrong credentials", "неверные ключи доступа"),
    Row::new(
        api(403, 403, ""),
        Class::Config,
        "the credentials may not send",
        "ключам не разрешена отправка",
    ),
    Row::new(api(500, 599, ""), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
];

const fn pdu(status: u32) -> Key {
    Key::Smpp { from: status, to: status }
}

/// SMPP 3.4, section 5.1.3.
pub(super) const SMPP: &[Row] = &[
    Row::new(pdu(0x00), Class::Accepted, "taken", "принято"),
    Row::new(
        pdu(0x58),
        Class::Throttled(Scope::Link),
        "throttled by the centre",
        "центр ограничивает скорость",
    ),
    // A full queue may be that of one destination: the message goes to the tail, the link goes on.
    Row::new(pdu(0x14), Class::Retry, "the centre's queue is full", "очередь центра переполнена")
        .tries(5)
        .slow(),
    Row::new(pdu(0x08), Class::Retry, "a system error at the centre", "системная ошибка центра"),
    Row::new(
        pdu(0x64),
        Class::Retry,
        "the receiver is not reachable for now",
        "получатель временно недоступен",
    ),
    Row::new(
        pdu(0x65),
        Class::Permanent,
        "the receiver refuses it for good",
        "получатель отклонил окончательно",
    ),
    Row::new(pdu(0x66), Class::Retry, "the receiver rejects it for now", "получатель временно отклоняет")
        .tries(3),
    Row::new(pdu(0x0A), Class::Config, "the sender's address is wrong", "неверный адрес отправителя"),
    Row::new(pdu(0x0B), Class::Suppress, "the number is wrong", "неверный номер").suppress(Reason::BadNumber),
    Row::new(pdu(0x01), Class::Permanent, "the message's length is wrong", "неверная длина сообщения"),
    Row::new(pdu(0x02), Class::Permanent, "the command's length is wrong", "неверная длина команды"),
    Row::new(pdu(0x03), Class::Permanent, "unknown command", "неизвестная команда"),
    Row::new(
        pdu(0x04),
        Class::Retry,
        "the session is not in the right state",
        "сессия в неподходящем состоянии",
    )
    .reconnect(),
    Row::new(pdu(0x05), Class::Config, "the account is bound already", "учётная запись уже подключена")
        .wait(30),
    Row::new(pdu(0x0D), Class::Config, "binding failed", "не удалось подключиться"),
    Row::new(pdu(0x0E), Class::Config, "wrong password", "неверный пароль"),
    Row::new(pdu(0x0F), Class::Config, "wrong system id", "неверный system_id"),
    Row::new(pdu(0x45), Class::Permanent, "the message could not be submitted", "сообщение не принято"),
    Row::new(
        pdu(0x48),
        Class::Config,
        "the kind of the sender's address is wrong",
        "неверный тип адреса отправителя",
    ),
    Row::new(pdu(0x50), Class::Suppress, "the kind of the number is wrong", "неверный тип номера")
        .suppress(Reason::BadNumber),
    Row::new(pdu(0x62), Class::Permanent, "the validity period is wrong", "неверный срок жизни"),
    Row::new(
        Key::Smpp { from: 0x400, to: 0x4FF },
        Class::Retry,
        "an error of this centre's own",
        "собственная ошибка центра",
    )
    .tries(3),
    Row::new(
        Key::Smpp { from: 0x01, to: u32::MAX },
        Class::Permanent,
        "refused by the centre",
        "отклонено центром",
    ),
];

const BEFORE: Row = Row::new(
    Key::Smpp { from: 0, to: 0 },
    Class::Retry,
    "the connection failed before the message was out",
    "связь оборвалась до передачи сообщения",
)
.reconnect();
const AFTER: Row = Row::new(
    Key::Smpp { from: 0, to: 0 },
    Class::Ambiguous,
    "the connection or the time ended after the message was out",
    "связь или время истекли после передачи сообщения",
)
.reconnect();

/// What a connection that failed means.
pub(super) fn broken(stage: Stage) -> Row {
    match stage {
        Stage::Before => BEFORE,
        Stage::After => AFTER,
    }
}

const UNKNOWN: &[Row] = &[
    Row::new(replies(200, 399), Class::Accepted, "taken", "принято"),
    Row::new(replies(400, 499), Class::Retry, "refused for now", "временно отклонено"),
    Row::new(replies(0, u16::MAX), Class::Permanent, "refused for good", "отклонено окончательно"),
    Row::new(api(200, 299, ""), Class::Accepted, "taken", "принято"),
    Row::new(api(408, 408, ""), Class::Ambiguous, "the server stopped waiting", "сервер не дождался запроса"),
    Row::new(
        api(429, 429, ""),
        Class::Throttled(Scope::Account),
        "too many requests",
        "слишком много запросов",
    ),
    Row::new(api(401, 403, ""), Class::Config, "the credentials are refused", "доступ отклонён"),
    Row::new(api(500, 599, ""), Class::Retry, "an error at the provider", "сбой на стороне провайдера"),
    Row::new(api(0, u16::MAX, ""), Class::Permanent, "refused for good", "отклонено окончательно"),
    Row::new(
        Key::Smpp { from: 0, to: u32::MAX },
        Class::Permanent,
        "refused by the centre",
        "отклонено центром",
    ),
];

/// What the protocol says of a code that the table has not.
pub(super) fn fallback(answer: Answer<'_>) -> &'static Row {
    UNKNOWN.iter().find(|row| row.key.fits(answer)).unwrap_or(&AFTER)
}

/// The answer in short; nothing of its free text.
pub(super) fn code(answer: Answer<'_>) -> String {
    match answer {
        Answer::Smtp { code, enhanced: Some(enhanced), .. } => format!("{code} {}", short(enhanced)),
        Answer::Smtp { code, .. } => code.to_string(),
        Answer::Http { status, code: Some(code), .. } => format!("{status} {}", short(code)),
        Answer::Http { status, .. } => status.to_string(),
        Answer::Smpp { status } => format!("{status:#04x}"),
        Answer::Broken { stage: Stage::Before, .. } => "no connection".to_owned(),
        Answer::Broken { stage: Stage::After, .. } => "no answer".to_owned(),
    }
}

fn short(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(60).collect()
}

/// What an SMPP receipt's `message_state` says (SMPP 3.4, section 5.2.28).
pub fn receipt_state(state: u8) -> ReceiptState {
    match state {
        2 => ReceiptState::Delivered,
        1 | 6 => ReceiptState::OnItsWay,
        3 => ReceiptState::Undelivered { permanent: false },
        4 | 5 | 8 => ReceiptState::Undelivered { permanent: true },
        _ => ReceiptState::Unclear,
    }
}

/// What a receipt says, in the words of every provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptState {
    OnItsWay,
    Delivered,
    Undelivered { permanent: bool },
    Unclear,
}
