//! Why a message was, or was not, tried again, in a sentence.

use super::{Class, Scope, Verdict};

/// A language that people who run the module read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Russian,
}

/// Why the message was, or was not, tried again after this answer.
pub fn explain(verdict: &Verdict, language: Language) -> String {
    match language {
        Language::English => english(verdict),
        Language::Russian => russian(verdict),
    }
}

fn english(verdict: &Verdict) -> String {
    let said = format!("{} answered {} ({})", verdict.provider.as_str(), verdict.code, verdict.meaning[0]);
    let pause =
        verdict.wait.map_or(String::new(), |wait| format!(", not before {} s are over", wait.as_secs()));
    match verdict.class {
        Class::Accepted => format!("{said}: the provider has it, so it counts as sent and is not sent again"),
        Class::Retry if verdict.tries > 0 => {
            format!("{said}: this passes by itself; it is tried at most {} times{pause}", verdict.tries)
        }
        Class::Retry => {
            format!("{said}: this passes by itself; it is tried again with growing pauses{pause}")
        }
        Class::RetryAfter => format!("{said}: it is tried again{pause}; this uses up no try"),
        Class::Throttled(scope) => {
            let whom = match scope {
                Scope::Account => "everything over this account is slowed down",
                Scope::Link => "this connection pauses",
                Scope::Recipient => "messages to this recipient are slowed down",
            };
            format!("{said}: {whom}, then it is tried again{pause}; this uses up no try")
        }
        Class::Suppress => {
            format!("{said}: not tried again, and nothing more is sent to this address")
        }
        Class::Permanent => format!("{said}: not tried again, for the same request would be refused again"),
        Class::Config => format!(
            "{said}: not tried again over this account, which is out of use until it is put right{pause}; another account is tried where there is one"
        ),
        Class::Ambiguous => format!(
            "{said}: not tried again by itself, for it may have arrived; the provider is asked first, or a person decides"
        ),
    }
}

fn russian(verdict: &Verdict) -> String {
    let said = format!("{} ответил {} ({})", verdict.provider.as_str(), verdict.code, verdict.meaning[1]);
    let pause =
        verdict.wait.map_or(String::new(), |wait| format!(", не раньше чем через {} с", wait.as_secs()));
    match verdict.class {
        Class::Accepted => {
            format!(
                "{said}: сообщение у провайдера, поэтому считается отправленным и повторно не отправляется"
            )
        }
        Class::Retry if verdict.tries > 0 => {
            format!("{said}: это пройдёт само; попыток не больше {}{pause}", verdict.tries)
        }
        Class::Retry => format!("{said}: это пройдёт само; попытки повторяются с растущими паузами{pause}"),
        Class::RetryAfter => format!("{said}: будет отправлено ещё раз{pause}; попытка при этом не тратится"),
        Class::Throttled(scope) => {
            let whom = match scope {
                Scope::Account => "отправка через эту учётную запись замедлена",
                Scope::Link => "это соединение приостановлено",
                Scope::Recipient => "отправка этому получателю замедлена",
            };
            format!("{said}: {whom}, затем будет ещё одна попытка{pause}; попытки при этом не тратятся")
        }
        Class::Suppress => {
            format!("{said}: повтора не будет, и на этот адрес больше ничего не отправляется")
        }
        Class::Permanent => format!("{said}: повтора не будет, так как тот же запрос снова будет отклонён"),
        Class::Config => format!(
            "{said}: через эту учётную запись повтора не будет, пока её не исправят{pause}; если есть другая, сообщение уйдёт через неё"
        ),
        Class::Ambiguous => format!(
            "{said}: само не повторяется, так как сообщение могло дойти; сначала спрашиваем провайдера, или решает человек"
        ),
    }
}
