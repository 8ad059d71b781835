//! How a text becomes short messages: the GSM 03.38 alphabet or UCS-2, counted and divided (3GPP TS 23.038, 23.040).
//!
//! One message holds 160 characters of the GSM alphabet or 70 units of UCS-2; each part of a longer one holds 153 or 67,
//! because six bytes say which part it is. Characters of the extension table take two places. Neither those nor a pair of
//! surrogates is ever divided.

use serde::Serialize;

/// The default alphabet, by its codes. Code 0x1B is the escape to the extension table.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                   ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// The extension table: a character and its code behind the escape.
const EXTENSION: [(char, u8); 10] = [
    ('\u{c}', 0x0A),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2F),
    ('[', 0x3C),
    ('~', 0x3D),
    (']', 0x3E),
    ('|', 0x40),
    ('€', 0x65),
];

const ESCAPE: u8 = 0x1B;

/// The number of a part is one byte.
pub const MOST_PARTS: usize = 255;

/// How characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// One byte a septet, not packed, as SMPP wants it with `data_coding` 0.
    Gsm7,
    /// UTF-16 in big endian, `data_coding` 8.
    Ucs2,
}

impl Coding {
    /// Units of a message of one part, and of each part of a longer one.
    pub const fn room(self) -> (usize, usize) {
        match self {
            Coding::Gsm7 => (160, 153),
            Coding::Ucs2 => (70, 67),
        }
    }

    /// SMPP's `data_coding`.
    pub const fn data_coding(self) -> u8 {
        match self {
            Coding::Gsm7 => 0,
            Coding::Ucs2 => 8,
        }
    }
}

/// What a text costs, before it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    pub coding: Coding,
    /// Septets or 16-bit units.
    pub units: usize,
    pub parts: usize,
    /// Units that still fit into the last part.
    pub left: usize,
    /// The first character that is not in the GSM alphabet: with another one in its place the text may take fewer parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<char>,
}

/// A part as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub text: String,
    /// The user data header, where there are several parts (8-bit reference).
    pub header: Option<[u8; 6]>,
    /// Without the header.
    pub payload: Vec<u8>,
}

/// A text that needs more parts than are allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sms: takes {parts} parts of {}; {most} are allowed", match coding { Coding::Gsm7 => "153 characters", Coding::Ucs2 => "67 characters" })]
pub struct TooLong {
    pub parts: usize,
    pub most: usize,
    pub coding: Coding,
}

/// The code in the default alphabet.
fn default_code(c: char) -> Option<u8> {
    let at = GSM.chars().position(|known| known == c && c != '\u{1b}')?;
    u8::try_from(at).ok()
}

fn extension_code(c: char) -> Option<u8> {
    EXTENSION.iter().find(|(known, _)| *known == c).map(|(_, code)| *code)
}

/// Units that a character takes; `None` where the coding does not have it.
fn units(coding: Coding, c: char) -> Option<usize> {
    match coding {
        Coding::Gsm7 if default_code(c).is_some() => Some(1),
        Coding::Gsm7 => extension_code(c).map(|_| 2),
        Coding::Ucs2 => Some(c.len_utf16()),
    }
}

/// GSM 7-bit where the whole text has it, else UCS-2.
pub fn coding(text: &str) -> Coding {
    match text.chars().all(|c| units(Coding::Gsm7, c).is_some()) {
        true => Coding::Gsm7,
        false => Coding::Ucs2,
    }
}

/// The parts of a text as slices of it, each with its units.
fn divide(text: &str, coding: Coding) -> Vec<(&str, usize)> {
    let (whole, each) = coding.room();
    let size = |c| units(coding, c).unwrap_or(2);
    let total: usize = text.chars().map(size).sum();
    if total <= whole {
        return vec![(text, total)];
    }
    let (mut parts, mut start, mut used) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        if used + size(c) > each {
            parts.push((&text[start..at], used));
            (start, used) = (at, 0);
        }
        used += size(c);
    }
    parts.push((&text[start..], used));
    parts
}

/// What a text costs.
pub fn count(text: &str) -> Count {
    let coding = coding(text);
    let parts = divide(text, coding);
    let (whole, each) = coding.room();
    let room = if parts.len() == 1 { whole } else { each };
    Count {
        coding,
        units: parts.iter().map(|(_, units)| units).sum(),
        parts: parts.len(),
        left: room.saturating_sub(parts.last().map_or(0, |(_, units)| *units)),
        because: text.chars().find(|c| units(Coding::Gsm7, *c).is_none()),
    }
}

/// The parts of a text. `reference` is what the parts of one message have in common: another one for the next message to the same
/// number.
pub fn split(text: &str, reference: u8, most: usize) -> Result<Vec<Part>, TooLong> {
    let coding = coding(text);
    let slices = divide(text, coding);
    let (parts, most) = (slices.len(), most.min(MOST_PARTS));
    let total = u8::try_from(parts).ok().filter(|_| parts <= most);
    let total = total.ok_or(TooLong { parts, most, coding })?;
    let header = |number: u8| (total > 1).then_some([0x05, 0x00, 0x03, reference, total, number]);
    let numbered = slices.iter().zip(1u8..=total);
    Ok(numbered
        .map(|((text, _), number)| Part {
            text: (*text).to_owned(),
            header: header(number),
            payload: encode(text, coding),
        })
        .collect())
}

fn encode(text: &str, coding: Coding) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 2);
    for c in text.chars() {
        match (coding, default_code(c), extension_code(c)) {
            (Coding::Gsm7, Some(code), _) => bytes.push(code),
            (Coding::Gsm7, None, Some(code)) => bytes.extend([ESCAPE, code]),
            _ => bytes.extend(c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes())),
        }
    }
    bytes
}

/// Reads the GSM alphabet, as simulators and incoming messages need it; an escape without a known character behind it is
/// a space (3GPP TS 23.038, section 6.2.1.1).
pub fn decode_gsm(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = GSM.chars().collect();
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(code) = rest.next() {
        let c = match code {
            ESCAPE => {
                let next = rest.next().unwrap_or(0x20);
                EXTENSION.iter().find(|(_, known)| *known == next).map_or(' ', |(c, _)| *c)
            }
            _ => alphabet.get(usize::from(code)).copied().unwrap_or(' '),
        };
        text.push(c);
    }
    text
}

/// Reads UCS-2; half a pair becomes U+FFFD.
pub fn decode_ucs2(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect()
}

/// Puts plain characters in the place of typographic ones (quotation marks, dashes, spaces, the ellipsis), where that alone
/// makes the text one of the GSM alphabet; otherwise the text stays as it is.
pub fn thrifty(text: &str) -> String {
    let plain: String = text
        .chars()
        .flat_map(|c| {
            let (one, more) = match c {
                '«' | '»' | '“' | '”' | '„' => ('"', ""),
                '‘' | '’' | '‚' => ('\'', ""),
                '–' | '—' | '−' | '\u{2010}' | '\u{2011}' => ('-', ""),
                '\u{a0}' | '\u{2009}' | '\u{202f}' => (' ', ""),
                '…' => ('.', ".."),
                other => (other, ""),
            };
            std::iter::once(one).chain(more.chars())
        })
        .collect();
    if coding(&plain) == Coding::Gsm7 { plain } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Coding, usize, usize) {
        let count = count(text);
        (count.coding, count.parts, count.left)
    }

    #[test]
    fn the_alphabet_has_its_codes() {
        assert_eq!(GSM.chars().count(), 128);
        // Of TS 23.038's table, one of each column and all of the odd ones.
        for (c, code) in [
            ('@', 0x00),
            ('\n', 0x0A),
            ('\r', 0x0D),
            ('Δ', 0x10),
            ('_', 0x11),
            ('Ξ', 0x1A),
            ('Æ', 0x1C),
            ('É', 0x1F),
            (' ', 0x20),
            ('¤', 0x24),
            ('0', 0x30),
            ('?', 0x3F),
            ('¡', 0x40),
            ('A', 0x41),
            ('Z', 0x5A),
            ('Ä', 0x5B),
            ('§', 0x5F),
            ('¿', 0x60),
            ('a', 0x61),
            ('z', 0x7A),
            ('ä', 0x7B),
            ('à', 0x7F),
        ] {
            assert_eq!(default_code(c), Some(code), "{c}");
        }
        assert_eq!((default_code('\u{1b}'), default_code('`'), default_code('ё')), (None, None, None));
        assert_eq!(encode("€[", Coding::Gsm7), [0x1B, 0x65, 0x1B, 0x3C]);
        assert_eq!(encode("Я😀", Coding::Ucs2), [0x04, 0x2F, 0xD8, 0x3D, 0xDE, 0x00]);
    }

    #[test]
    fn parts_are_counted_at_the_edges() {
        use Coding::{Gsm7, Ucs2};
        for (text, expected) in [
            (String::new(), (Gsm7, 1, 160)),
            ("a".repeat(160), (Gsm7, 1, 0)),
            ("a".repeat(161), (Gsm7, 2, 145)),
            ("a".repeat(306), (Gsm7, 2, 0)),
            ("a".repeat(307), (Gsm7, 3, 152)),
            ("€".repeat(80), (Gsm7, 1, 0)),
            ("€".repeat(81), (Gsm7, 2, 143)),
            ("я".repeat(70), (Ucs2, 1, 0)),
            ("я".repeat(71), (Ucs2, 2, 63)),
            ("я".repeat(134), (Ucs2, 2, 0)),
            ("я".repeat(135), (Ucs2, 3, 66)),
            ("😀".repeat(35), (Ucs2, 1, 0)),
            ("😀".repeat(36), (Ucs2, 2, 61)),
        ] {
            assert_eq!(parts(&text), expected, "{} characters", text.chars().count());
        }
        assert_eq!(count("price — 5").because, Some('—'));
    }

    #[test]
    fn neither_an_escape_nor_a_pair_is_divided() {
        let text = format!("{}€{}", "a".repeat(152), "b".repeat(20));
        let first = &split(&text, 7, 10).unwrap()[0];
        assert_eq!((first.payload.len(), first.header), (152, Some([5, 0, 3, 7, 2, 1])));
        let text = format!("{}😀{}", "я".repeat(66), "ю".repeat(20));
        assert_eq!(split(&text, 7, 10).unwrap()[0].payload.len(), 132);
    }

    #[test]
    fn what_takes_too_many_parts_is_refused() {
        let error = split(&"я".repeat(700), 0, 10).unwrap_err();
        assert_eq!(error.to_string(), "sms: takes 11 parts of 67 characters; 10 are allowed");
        assert!(split(&"a".repeat(153 * 256), 0, 1000).is_err());
        assert_eq!(split("short", 0, 10).unwrap()[0].header, None);
    }

    #[test]
    fn typographic_characters_give_way_only_where_that_helps() {
        assert_eq!(thrifty("“Parcel” — it’s here…"), "\"Parcel\" - it's here...");
        assert_eq!(thrifty("«Посылка» — здесь"), "«Посылка» — здесь");
    }

    fn texts() -> impl Strategy<Value = String> {
        let gsm = prop::sample::select(GSM.chars().filter(|c| *c != '\u{1b}').collect::<Vec<_>>());
        let extension = prop::sample::select(EXTENSION.map(|(c, _)| c).to_vec());
        let plain = prop::collection::vec(prop_oneof![4 => gsm, 1 => extension], 0..700);
        let any =
            prop::collection::vec(prop_oneof![3 => prop::char::range('а', 'я'), 1 => any::<char>()], 0..400);
        prop_oneof![plain, any].prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn the_parts_joined_are_the_text(text in texts(), reference: u8) {
            let counted = count(&text);
            let parts = split(&text, reference, MOST_PARTS).unwrap();
            prop_assert_eq!(parts.iter().map(|part| part.text.as_str()).collect::<String>(), text.as_str());
            prop_assert_eq!(parts.len(), counted.parts);
            let (whole, each) = counted.coding.room();
            let width = if counted.coding == Coding::Gsm7 { 1 } else { 2 };
            let mut read = String::new();
            for (i, part) in parts.iter().enumerate() {
                let room = if parts.len() == 1 { whole } else { each };
                prop_assert!(part.payload.len() <= room * width);
                // Each part can be read alone, so nothing was divided that belongs together.
                let own = match counted.coding {
                    Coding::Gsm7 => decode_gsm(&part.payload),
                    Coding::Ucs2 => decode_ucs2(&part.payload),
                };
                prop_assert_eq!(&own, &part.text);
                read.push_str(&own);
                if let Some(header) = part.header {
                    prop_assert_eq!(header, [5, 0, 3, reference, parts.len() as u8, i as u8 + 1]);
                }
            }
            prop_assert_eq!(&read, &text);
            // Long ones only are divided.
            prop_assert_eq!(parts.len() > 1, counted.units > whole);
        }
    }
}
