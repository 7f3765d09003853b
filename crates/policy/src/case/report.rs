//! What came of a file of cases, for people.

use std::collections::BTreeSet;
use std::fmt;

use crate::owner::PolicyKey;
use crate::terminal::without_controls;

/// What came of one file of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub file: String,
    /// Its cases, in their order.
    pub results: Vec<CaseResult>,
    /// The policies that its expectations name.
    pub named: BTreeSet<PolicyKey>,
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Where it stands, from 1.
    pub line: Option<u64>,
    /// What is not as expected; none where it passed.
    pub failure: Option<Failure>,
}

/// What of a case is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Each outcome that differs.
    pub differences: Vec<Difference>,
    /// What the policies say of it, a line for each.
    pub why: Vec<String>,
}

/// An outcome that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the case asks for.
    pub expected: String,
    /// What is decided.
    pub actual: String,
}

impl Report {
    /// How many cases passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.results.len() - self.failed()
    }

    /// How many failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        let failed = |result: &&CaseResult| result.failure.is_some();
        self.results.iter().filter(failed).count()
    }

    /// One line for a case that passed; for one that failed, also what differs and why.
    pub fn lines(&self, with_passed: bool) -> impl Iterator<Item = String> {
        self.results
            .iter()
            .filter(move |result| with_passed || result.failure.is_some())
            .map(|result| self.line(result))
    }

    fn line(&self, result: &CaseResult) -> String {
        let outcome = match result.failure {
            Some(_) => "FAILED",
            None => "passed",
        };
        let place = match result.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        };
        let failure = result.failure.as_ref().map(Failure::to_string);
        format!(
            "{outcome}  {}  {}{}",
            without_controls(&place),
            without_controls(&result.name),
            failure.unwrap_or_default()
        )
    }
}

impl fmt::Display for Failure {
    /// Lines below the one that names the case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Difference { expected, actual } in &self.differences {
            let (expected, actual) = (without_controls(expected), without_controls(actual));
            write!(f, "\n    expected  {expected}\n    actual    {actual}")?;
        }
        for (index, line) in self.why.iter().enumerate() {
            let head = if index == 0 { "why" } else { "" };
            write!(f, "\n    {head:<9} {}", without_controls(line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_test_moves_hides_or_turns_around_anything() {
        let hostile = |what: &str| format!("{what}\n\u{1b}[2J\u{202e}\u{200b}");
        let report = Report {
            file: hostile("file"),
            results: vec![CaseResult {
                name: hostile("name"),
                line: Some(1),
                failure: Some(Failure {
                    differences: vec![Difference {
                        expected: hostile("expected"),
                        actual: hostile("actual"),
                    }],
                    why: vec![hostile("why")],
                }),
            }],
            named: BTreeSet::new(),
        };
        let lines: Vec<_> = report.lines(false).collect();
        let [text] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(
            text.matches("\u{fffd}\u{fffd}[2J\u{fffd}\u{fffd}").count(),
            5
        );
        assert!(
            !text.contains(['\u{1b}', '\u{202e}', '\u{200b}']),
            "{text:?}"
        );
    }
}
