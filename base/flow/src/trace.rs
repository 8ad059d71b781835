//! W3C Trace Context: a message carries its trace on; every message is a span of its own.

use uuid::Uuid;

/// Whether `text` is a `traceparent` of version 00 with non-zero ids.
pub fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 4
        && parts[0] == "00"
        && parts[1].len() == 32
        && parts[2].len() == 16
        && parts[3].len() == 2
        && parts[1..].iter().all(|part| hex(part))
        && parts[1].bytes().any(|b| b != b'0')
        && parts[2].bytes().any(|b| b != b'0')
}

/// The `traceparent` of the message `id` within the trace of `parent`: the same trace, the id's low bits as span.
pub fn child(parent: &str, id: Uuid) -> Option<String> {
    is_traceparent(parent).then(|| {
        let span = id.as_u128() as u64;
        format!("{}-{span:016x}-{}", &parent[..35], &parent[53..])
    })
}

/// The trace id within a `traceparent`, for logs.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    is_traceparent(traceparent).then(|| &traceparent[3..35])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_child_keeps_the_trace_and_has_its_own_span() {
        let id = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff);
        let child = child(PARENT, id).expect("valid parent");
        assert_eq!(child, "00-4bf92f3577b34da6a3ce929d0e0e4736-80000000000000ff-01");
        assert!(is_traceparent(&child));
        assert_eq!(trace_id(&child), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    }

    #[test]
    fn what_is_no_traceparent_is_not_carried_on() {
        for text in ["", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff", &PARENT[1..]] {
            assert_eq!(child(text, Uuid::nil()), None, "{text}");
        }
    }
}
