//! Runs cases on policies: decides each, and compares.

use std::collections::BTreeSet;

use super::names::{display, is};
use super::report::{CaseResult, Difference, Failure, Report};
use super::why;
use super::{Case, CaseFile, Expected};
use crate::compile::PolicyRef;
use crate::evaluate::{Verdict, decide};
use crate::explain::explain;
use crate::node::Place;
use crate::policy::Policy;
use crate::problem::Problems;
use crate::reader::Reader;
use crate::set::{PolicySet, StoredPolicy};

impl CaseFile {
    /// Runs all cases on these policies. A case that names a policy which is not among them is a
    /// problem of the file, and nothing is run.
    pub fn run(&self, policies: &[Policy]) -> Result<Report, Problems> {
        let mut reader = Reader::new(Some(&self.file));
        let expected: Vec<_> = self
            .cases
            .iter()
            .map(|case| (case, reader.expected_of(case, policies)))
            .collect();
        // As they would be stored: what is read back is what will decide.
        let set = PolicySet::from_stored(policies.iter().map(StoredPolicy::first_revision));
        let set = set.unwrap_or_else(|unreadable| {
            reader.refuse(Place::default(), "", unreadable.to_string(), "");
            PolicySet::default()
        });
        if !reader.problems.is_empty() {
            return Err(reader.into_problems());
        }
        let mut named = BTreeSet::new();
        let mut results = Vec::with_capacity(self.cases.len());
        for (case, expected) in expected {
            let Some((enforced, dry_run)) = expected else {
                continue;
            };
            for policy in [Some(enforced), dry_run]
                .into_iter()
                .flatten()
                .filter_map(Expected::policy)
            {
                named.insert(policy.key());
            }
            results.push(CaseResult {
                name: case.name.clone(),
                line: case.place.line,
                failure: run(case, enforced, dry_run, policies, &set),
            });
        }
        Ok(Report {
            file: self.file.clone(),
            results,
            named,
        })
    }
}

fn run(
    case: &Case,
    enforced: Expected<&Policy>,
    dry_run: Option<Expected<&Policy>>,
    policies: &[Policy],
    set: &PolicySet,
) -> Option<Failure> {
    let decision = decide(set, &case.facts, case.at);
    let differences: Vec<_> = [
        ("", Some(enforced), &decision.enforced),
        ("dry_run: ", dry_run, &decision.dry_run),
    ]
    .into_iter()
    .filter_map(|(of, expected, actual)| {
        let expected = expected?;
        (!expected.is(actual)).then(|| Difference {
            expected: format!("{of}{}", expected.in_words()),
            actual: format!("{of}{}", in_words(actual)),
        })
    })
    .collect();
    if differences.is_empty() {
        return None;
    }
    let first: Vec<_> = [Some(enforced), dry_run]
        .into_iter()
        .flatten()
        .filter_map(Expected::policy)
        .collect();
    let explanation = explain(set, &case.facts, case.at);
    Some(Failure {
        differences,
        why: why::lines(case, &explanation, &first, policies),
    })
}

impl Expected<&Policy> {
    fn is(self, actual: &Verdict) -> bool {
        match (self, actual) {
            (Self::Nothing, Verdict::Nothing { exempted: None })
            | (Self::Indeterminate, Verdict::Indeterminate) => true,
            (Self::Mute(expected), Verdict::Mute { policy }) => is(policy, expected),
            (
                Self::ExemptedBy(expected),
                Verdict::Nothing {
                    exempted: Some(exempted),
                },
            ) => is(&exempted.by, expected),
            _ => false,
        }
    }

    fn in_words(self) -> String {
        let name = |policy: &Policy| display(&policy.owner, &policy.name);
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Indeterminate => "indeterminate".to_owned(),
            Self::Mute(policy) => format!("muted by {}", name(policy)),
            Self::ExemptedBy(policy) => format!("exempted by {}", name(policy)),
        }
    }
}

fn in_words(actual: &Verdict) -> String {
    let name = |policy: &PolicyRef| display(&policy.owner, &policy.name);
    match actual {
        Verdict::Nothing { exempted: None } => "nothing".to_owned(),
        Verdict::Nothing {
            exempted: Some(exempted),
        } => format!(
            "exempted by {}, from {}",
            name(&exempted.by),
            name(&exempted.mute)
        ),
        Verdict::Mute { policy } => format!("muted by {}", name(policy)),
        Verdict::Indeterminate => {
            "indeterminate, as facts are unknown that would decide".to_owned()
        }
    }
}
