//! What Redis' errors mean to whoever runs it. Nothing here repeats a URL: it may hold a password.

use redis::{ErrorKind, RedisError};

const NO_NUMBER: &str = "the value is no number that can be added to";

/// What has to follow from an error.
pub(super) enum Meaning {
    /// This command was refused; the connection is fine.
    Refused,
    /// Nothing works on this connection, for now.
    Gone,
}

/// From an error reply: its first word, and the rest.
pub(super) fn of_reply(code: &str, detail: &str) -> (Meaning, String) {
    let sentence = match code {
        "WRONGPASS" | "NOAUTH" => {
            "it refuses the user or the password; correct them in the cache's URL".to_owned()
        }
        "NOPERM" => {
            format!("its user may not do this ({detail}); grant ~PREFIX:* with +@all -@dangerous +info")
        }
        "LOADING" => "it is loading its data and answers when that is done".to_owned(),
        "READONLY" => {
            "it is a replica, which takes no writes; name the primary in the cache's URL".to_owned()
        }
        "MASTERDOWN" => "it is a replica without its primary; name the primary in the cache's URL".to_owned(),
        "MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT" => {
            "it is a node of a cluster, which this adapter does not speak to; name a server that stands alone"
                .to_owned()
        }
        "OOM" => "its memory is full; raise maxmemory, or set maxmemory-policy to allkeys-lru".to_owned(),
        "MISCONF" => {
            "it takes no writes since it can't save to its disk; see its log, or turn saving off for a cache"
                .to_owned()
        }
        "ERR" if detail.contains("not an integer") || detail.contains("overflow") => NO_NUMBER.to_owned(),
        _ => format!("it answers {code} {detail}"),
    };
    let refused = matches!(code, "OOM" | "MISCONF" | "NOPERM" | "ERR" | "WRONGTYPE" | "NOSCRIPT");
    let meaning = if refused { Meaning::Refused } else { Meaning::Gone };
    let told = if matches!(code, "ERR") { sentence } else { format!("{sentence} ({code})") };
    (meaning, told)
}

/// From what the client says: no connection, or a handshake that was refused.
pub(super) fn of_error(error: &RedisError) -> (Meaning, String) {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return of_reply("WRONGPASS", "");
    }
    match error.code() {
        Some(code) => of_reply(code, error.detail().unwrap_or_default()),
        None if error.is_timeout() => (Meaning::Gone, "it does not answer in time".to_owned()),
        None if error.is_io_error() => (Meaning::Gone, format!("it can't be reached: {error}")),
        None => (Meaning::Gone, error.to_string()),
    }
}

pub(super) fn is_no_number(reason: &str) -> bool {
    reason.contains(NO_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        for (code, word, gone) in [
            ("WRONGPASS", "password", true),
            ("OOM", "maxmemory", false),
            ("READONLY", "primary", true),
            ("LOADING", "loading", true),
            ("MISCONF", "disk", false),
            ("MOVED", "cluster", true),
            ("ERR", "unknown command", false),
        ] {
            let (meaning, sentence) = of_reply(code, "unknown command 'X'");
            assert!(sentence.contains(word), "{code}: {sentence}");
            assert_eq!(matches!(meaning, Meaning::Gone), gone, "{code}");
        }
    }
}
