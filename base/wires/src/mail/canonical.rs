//! A mail as signatures see it: relaxed, for headers and body (RFC 6376, sections 3.4.2 and 3.4.4).

/// A header as it stands in a mail.
pub(super) struct Header<'a> {
    pub name: &'a str,
    /// From behind the colon on, with its folds, without its last end of a line.
    pub value: &'a [u8],
}

/// The headers in order, and the body.
pub(super) fn split(content: &[u8]) -> (Vec<Header<'_>>, &[u8]) {
    let (mut headers, mut rest) = (Vec::new(), content);
    loop {
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            return (headers, body);
        }
        let mut end = 0;
        // Lines that begin with a blank go on with the header above.
        loop {
            end += find(&rest[end..], b"\r\n").unwrap_or(rest.len() - end);
            match rest.get(end + 2) {
                Some(b' ' | b'\t') => end += 2,
                _ => break,
            }
        }
        let (header, after) = rest.split_at(end);
        if header.is_empty() {
            return (headers, after);
        }
        rest = after.strip_prefix(b"\r\n").unwrap_or_default();
        if let Some(colon) = header.iter().position(|byte| *byte == b':')
            && let Ok(name) = std::str::from_utf8(&header[..colon])
        {
            headers.push(Header { name, value: &header[colon + 1..] });
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The name in small letters, no folds, single spaces inside and none around; no end of a line.
pub(super) fn header(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.trim_end().bytes().map(|byte| byte.to_ascii_lowercase()));
    out.push(b':');
    let words =
        value.split(|byte| blank(*byte) || matches!(byte, b'\r' | b'\n')).filter(|word| !word.is_empty());
    for (n, word) in words.enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// No blanks at the ends of lines, single spaces inside, no empty lines at the end; a body of nothing stays nothing.
pub(super) fn body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    let (mut rest, mut empty) = (body, 0);
    while !rest.is_empty() {
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        let length = line.iter().rposition(|byte| !blank(*byte)).map_or(0, |last| last + 1);
        if length == 0 {
            empty += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty) {
            out.extend_from_slice(b"\r\n");
        }
        let mut before = false;
        for byte in &line[..length] {
            match (blank(*byte), before) {
                (true, true) => {}
                (true, false) => out.push(b' '),
                (false, _) => out.push(*byte),
            }
            before = blank(*byte);
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6376, section 3.4.5.
    #[test]
    fn the_example_of_the_standard() {
        let (headers, rest) = split(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n");
        let mut out = Vec::new();
        for one in headers {
            header(one.name, one.value, &mut out);
            out.extend_from_slice(b"\r\n");
        }
        assert_eq!(std::str::from_utf8(&out).unwrap(), "a:X\r\nb:Y Z\r\n");
        assert_eq!(std::str::from_utf8(&body(rest)).unwrap(), " C\r\nD E\r\n");
    }

    #[test]
    fn bodies_end_in_one_end_of_a_line_or_are_nothing() {
        for (given, wanted) in
            [("", ""), ("\r\n\r\n", ""), (" \t\r\n", ""), ("a", "a\r\n"), ("a\r\n\r\n\r\n", "a\r\n")]
        {
            assert_eq!(body(given.as_bytes()), wanted.as_bytes(), "{given:?}");
        }
        assert_eq!(body(b"\r\n\r\na\r\n"), b"\r\n\r\na\r\n");
        assert_eq!(split(b"A: b\r\n").1, b"");
        assert_eq!(split(b"").0.len(), 0);
    }
}
