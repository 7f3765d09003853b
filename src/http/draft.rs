//! The draft of a request: `policies`, `without` and `alone`, as backtests and plans take them.

use serde_json::Value;

use super::problem::{Problem, chain};
use crate::draft::{Draft, DraftError};
use quell_policy::limits::POLICIES_MAX;
use quell_policy::problem::PROBLEMS_MAX;
use quell_policy::{Owner, Policy, PolicyKey, Problems};

impl From<DraftError> for Problem {
    fn from(error: DraftError) -> Self {
        match error {
            // What is wrong with it may be another tenant's.
            DraftError::Unreadable(_) | DraftError::Glob(_) => {
                let text = "a stored policy cannot be read by this version";
                Self::unavailable(text).because(chain(&error))
            }
            DraftError::Empty
            | DraftError::Twice(_)
            | DraftError::InAndOut(_)
            | DraftError::NotStored(_)
            | DraftError::OtherTenant(..) => Self::invalid_request(error.to_string()),
        }
    }
}

/// The draft, and what may be a mistake in it.
pub(super) fn draft(
    policies: &[Value],
    without: Vec<String>,
    alone: bool,
    owner: &Owner,
) -> Result<(Draft, Vec<String>), Problem> {
    if alone && (policies.is_empty() || !without.is_empty()) {
        return Err(Problem::invalid_request(
            "`alone` is for `policies`, and leaves nothing for `without`",
        ));
    }
    let (policies, warnings) = drafted(policies, owner)?;
    let without = without.into_iter().map(|name| PolicyKey {
        owner: owner.clone(),
        name,
    });
    let draft = Draft {
        policies,
        without: without.collect(),
        alone,
    };
    Ok((draft, warnings))
}

/// The policies of a body, or everything that is wrong with any of them.
fn drafted(documents: &[Value], owner: &Owner) -> Result<(Vec<Policy>, Vec<String>), Problem> {
    if documents.len() > POLICIES_MAX {
        return Err(Problem::invalid_request(format!(
            "`policies` holds at most {POLICIES_MAX}"
        )));
    }
    let (mut policies, mut warnings) = (Vec::new(), Vec::new());
    let mut refused = Problems {
        problems: Vec::new(),
        left_off: 0,
    };
    for (index, document) in documents.iter().enumerate() {
        let located = |mut problem: quell_policy::Problem| {
            let dot = if problem.path.is_empty() { "" } else { "." };
            problem.path = format!("policies[{index}]{dot}{}", problem.path);
            problem
        };
        match Policy::from_json(document.to_string().as_bytes(), owner) {
            Ok(checked) => {
                policies.push(checked.value);
                let of_document = checked.warnings.into_iter().map(located);
                warnings.extend(of_document.map(|warning| warning.to_string()));
            }
            Err(problems) => {
                refused.left_off += problems.left_off;
                refused
                    .problems
                    .extend(problems.problems.into_iter().map(located));
            }
        }
    }
    if refused.problems.is_empty() {
        return Ok((policies, warnings));
    }
    refused.left_off += refused.problems.len().saturating_sub(PROBLEMS_MAX);
    refused.problems.truncate(PROBLEMS_MAX);
    Err(refused.into())
}
