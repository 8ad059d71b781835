//! How many timers a round takes: many while all goes well, few around one that fails.

/// The most in one transaction.
const MOST: i64 = 2000;
/// The most bytes of messages in one transaction, unless one alone has more.
const BYTES: i64 = 8 << 20;

pub(super) struct Pace {
    rows: i64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { rows: MOST }
    }
}

impl Pace {
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// All of a round went well.
    pub fn well(&mut self) {
        self.rows = self.rows.saturating_mul(2).min(MOST);
    }

    /// Something failed behind so many that went well: next these, or, where they are none, half of what failed. Twice what
    /// went well is then tried, so that a round that fails wastes no more work than what was done before it.
    pub fn failed(&mut self, well: usize, failed: usize) {
        let rows = if well > 0 { well } else { failed / 2 };
        self.rows = i64::try_from(rows).unwrap_or(MOST).clamp(1, MOST);
    }

    /// Whether so many rows are not too large for a round; if they are, the next look asks for fewer.
    pub fn fits(&mut self, rows: i64, bytes: i64) -> bool {
        if bytes <= BYTES || rows <= 1 {
            return true;
        }
        let fewer = i64::try_from(i128::from(rows) * i128::from(BYTES) / i128::from(bytes)).unwrap_or(1);
        self.rows = fewer.clamp(1, rows - 1);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_narrows_down_to_one_and_comes_back() {
        let mut pace = Pace::default();
        pace.failed(0, 2000);
        assert_eq!(pace.rows(), 1000);
        pace.failed(0, 1);
        assert_eq!(pace.rows(), 1);
        for _ in 0..11 {
            pace.well();
        }
        assert_eq!(pace.rows(), MOST);
    }

    proptest! {
        /// However the sizes lie, looks that ask for fewer end with a round.
        #[test]
        fn a_round_that_is_too_large_ends_as_one_that_fits(sizes in proptest::collection::vec(0i64..3 << 20, 1..200)) {
            let mut pace = Pace::default();
            let mut looks = 0;
            loop {
                let rows = pace.rows().min(i64::try_from(sizes.len()).expect("few"));
                let bytes: i64 = sizes.iter().take(usize::try_from(rows).expect("few")).sum();
                if pace.fits(rows, bytes) {
                    prop_assert!(rows >= 1 && (rows == 1 || bytes <= BYTES));
                    break;
                }
                looks += 1;
                prop_assert!(looks <= sizes.len());
            }
        }
    }
}
