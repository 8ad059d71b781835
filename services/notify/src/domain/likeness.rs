//! Which of the messages that a provider has is an attempt whose answer was lost, where it can be told by their texts alone.

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// None of them.
    None,
    /// The one at this index.
    One(usize),
    /// Nobody can say.
    Unclear,
}

/// `texts` are those of messages that no attempt is known for, `own` is the attempt's, `others` are those of attempts that they may be
/// as well. A text that is nobody's may be ours as the provider has changed it.
pub fn which(texts: &[&str], own: &str, others: &[String]) -> Likeness {
    let is_another_s = |text: &str| others.iter().any(|other| other.trim() == text.trim());
    let alike: Vec<usize> = (0..texts.len()).filter(|at| texts[*at].trim() == own.trim()).collect();
    match alike[..] {
        [] if texts.iter().all(|text| is_another_s(text)) => Likeness::None,
        [at] if !is_another_s(own) => Likeness::One(at),
        _ => Likeness::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_only_one_with_its_text() {
        let others = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (texts, rivals, likeness) in [
            (&[][..], &[][..], Likeness::None),
            (&["own"], &[], Likeness::One(0)),
            (&["other", "own"], &["other"], Likeness::One(1)),
            (&["strange", "own"], &[], Likeness::One(1)),
            (&["other"], &["other"], Likeness::None),
            (&["other", "other"], &["other"], Likeness::None),
            // Nobody's: perhaps ours, with something of the provider's in it.
            (&["strange"], &[], Likeness::Unclear),
            (&["strange"], &["other"], Likeness::Unclear),
            (&["own", "own"], &[], Likeness::Unclear),
            // Somebody else said the same, and only one of the two is there.
            (&["own"], &["own"], Likeness::Unclear),
            (&["own", "own"], &["own"], Likeness::Unclear),
            (&[], &["own"], Likeness::None),
        ] {
            assert_eq!(which(texts, "own", &others(rivals)), likeness, "{texts:?} {rivals:?}");
        }
    }
}
