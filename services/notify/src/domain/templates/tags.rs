//! Where Jinja's tags stand in a text.

use std::ops::Range;

/// Each tag with its braces, in order. The place of one that is not closed is the last.
pub(super) fn tags(source: &str) -> impl Iterator<Item = Result<Range<usize>, usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let bytes = source.as_bytes();
        let opens = |at: &usize| matches!(bytes.get(at + 1), Some(b'{' | b'%' | b'#'));
        let open = source.get(from..)?.match_indices('{').map(|(at, _)| from + at).find(opens)?;
        let close = match bytes.get(open + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            _ => "#}",
        };
        let end = source.get(open + 2..).and_then(|rest| rest.find(close)).map(|at| open + at + 4);
        from = end.unwrap_or(source.len());
        Some(end.map(|end| open..end).ok_or(open))
    })
}
