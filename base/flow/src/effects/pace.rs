//! How many effects are finished in one transaction: many while all goes well, few around one that fails, and no more than take a
//! moment.

use std::time::Duration;

/// The most in one transaction.
pub(super) const MOST: usize = 2_000;
/// A transaction that took longer was too large: others wait for its database, and for what it has locked.
const LONGEST: Duration = Duration::from_millis(100);

#[derive(Clone, Copy)]
pub(super) struct Pace(usize);

impl Default for Pace {
    fn default() -> Pace {
        Pace(MOST)
    }
}

impl Pace {
    pub fn rows(&self) -> usize {
        self.0
    }

    /// So many went well in one transaction.
    pub fn well(&mut self, rows: usize, took: Duration) {
        self.0 = if took > LONGEST { rows / 2 } else { self.0 * 2 }.clamp(1, MOST);
    }

    /// One of so many failed behind so many that went well, if that is known.
    pub fn failed(&mut self, well: Option<usize>, rows: usize) {
        self.0 =
            well.filter(|well| *well > 0).unwrap_or(if well.is_some() { 1 } else { rows / 2 }).clamp(1, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_narrows_down_to_one_and_comes_back() {
        let mut pace = Pace::default();
        pace.failed(None, 500);
        assert_eq!(pace.rows(), 250);
        pace.failed(Some(7), 250);
        assert_eq!(pace.rows(), 7);
        pace.failed(Some(0), 7);
        assert_eq!(pace.rows(), 1);
        for _ in 0..11 {
            pace.well(1, Duration::ZERO);
        }
        assert_eq!(pace.rows(), MOST);
        pace.well(300, LONGEST * 2);
        assert_eq!(pace.rows(), 150);
    }
}
