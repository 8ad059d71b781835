//! Licence expressions as crates write them (SPDX 2.3, annex D): identifiers, `WITH`, `AND`, `OR`, parentheses, and the
//! old `MIT/Apache-2.0`.

/// Whether somebody who accepts the licences in `allowed` may use what is under `expression`; the reason when not.
pub fn allows(expression: &str, allowed: &[String]) -> Result<(), String> {
    let mut reader = Reader { tokens: tokens(expression), at: 0, allowed };
    let verdict = reader.any()?;
    match reader.next() {
        Some(token) => Err(format!("'{expression}' can't be read from '{token}' on")),
        None if verdict => Ok(()),
        None => Err(format!("'{expression}' is not covered by the allowed licences")),
    }
}

fn tokens(expression: &str) -> Vec<String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

struct Reader<'a> {
    tokens: Vec<String>,
    at: usize,
    allowed: &'a [String],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| token == wanted);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut verdict = self.all()?;
        while self.eat("OR") {
            verdict |= self.all()?;
        }
        Ok(verdict)
    }

    /// `AND` binds stronger than `OR`.
    fn all(&mut self) -> Result<bool, String> {
        let mut verdict = self.one()?;
        while self.eat("AND") {
            verdict &= self.one()?;
        }
        Ok(verdict)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.eat("(") {
            let verdict = self.any()?;
            return if self.eat(")") { Ok(verdict) } else { Err("a ')' is missing".to_owned()) };
        }
        let licence = match self.next() {
            Some(token) if !matches!(token.as_str(), ")" | "AND" | "OR" | "WITH") => token,
            _ => return Err("a licence is missing in the expression".to_owned()),
        };
        let exception = if self.eat("WITH") { self.next() } else { None };
        let is_allowed = |name: &str| self.allowed.iter().any(|allowed| allowed == name);
        // An exception only ever gives more rights, so the licence alone is enough.
        Ok(is_allowed(licence.trim_end_matches('+'))
            || exception.is_some_and(|exception| is_allowed(&format!("{licence} WITH {exception}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str) -> bool {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "GPL-2.0 WITH Classpath-exception-2.0"];
        allows(expression, &allowed.map(str::to_owned)).is_ok()
    }

    #[test]
    fn one_of_several_is_enough_for_or() {
        assert!(check("MIT"));
        assert!(check("MIT OR GPL-3.0-only"));
        assert!(check("GPL-3.0-only/MIT"));
        assert!(!check("GPL-3.0-only"));
        assert!(!check("GPL-3.0-only OR AGPL-3.0-only"));
    }

    #[test]
    fn all_are_needed_for_and_which_binds_stronger() {
        assert!(check("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!check("MIT AND GPL-3.0-only"));
        assert!(check("MIT AND GPL-3.0-only OR Apache-2.0"));
        assert!(!check("MIT AND (GPL-3.0-only OR AGPL-3.0-only)"));
    }

    #[test]
    fn exceptions_count_with_their_licence() {
        assert!(check("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only"));
        assert!(check("GPL-2.0 WITH Classpath-exception-2.0"));
        assert!(!check("GPL-2.0 WITH GCC-exception-2.0"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for wrong in ["", "MIT OR", "(MIT", "MIT MIT", "WITH", "MIT)"] {
            assert!(!check(wrong), "{wrong}");
        }
    }
}
