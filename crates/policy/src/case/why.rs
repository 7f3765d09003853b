//! Why a case came out as it did: what each policy says of it, and the clause that decides.

use std::collections::HashSet;

use super::Case;
use super::names::{display, is};
use crate::explain::{Explained, Explanation, PolicyOutcome, explain};
use crate::facts::Fact;
use crate::policy::{Effect, Mode, Policy};
use crate::set::{PolicySet, StoredPolicy};
use crate::terminal::cut;
use crate::tri::Tri;

/// At most this many policies are shown.
const LINES_MAX: usize = 10;
/// Of what a clause expects, and of what there is, at most this many characters are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// A line on each policy: `first` ones, then those that have to do with the track. Where no mute is
/// among them, one of the others may be the one that was meant.
pub(super) fn lines(
    case: &Case,
    explanation: &Explanation,
    first: &[&Policy],
    all: &[Policy],
) -> Vec<String> {
    let about = |explained: &&Explained| {
        let left_alone = explained.failed.as_ref();
        explained.outcome != PolicyOutcome::Off
            && (explained.applies != Tri::False
                || left_alone.is_some_and(|clause| clause.clause == "unless"))
    };
    let candidates = explanation.candidates.iter();
    let about = candidates.filter(about).filter_map(|explained| {
        let policy = &explained.policy;
        all.iter().find(|other| is(policy, other))
    });
    let mut policies: Vec<&Policy> = first.iter().copied().chain(about).collect();
    if !policies.iter().any(|policy| policy.effect == Effect::Mute) {
        policies.extend(all);
    }
    let mut seen = HashSet::new();
    policies.retain(|policy| seen.insert((&policy.owner, &policy.name)));
    let shown = policies.iter().take(LINES_MAX);
    let mut lines: Vec<_> = shown
        .map(|policy| line(case, explanation, policy))
        .collect();
    let left_off = policies.len().saturating_sub(LINES_MAX);
    if left_off > 0 {
        lines.push(format!("and {left_off} more policies"));
    }
    lines
}

fn line(case: &Case, explanation: &Explanation, policy: &Policy) -> String {
    let mode = match policy.mode {
        Mode::Enforce => "",
        Mode::DryRun => ", dry_run",
        Mode::Off => ", off",
    };
    format!(
        "{} ({} {}{mode}) {}",
        display(&policy.owner, &policy.name),
        policy.effect,
        policy.priority,
        says(case, explanation, policy),
    )
}

/// What a policy says of the case.
fn says(case: &Case, explanation: &Explanation, policy: &Policy) -> String {
    let find = |among: &Explanation| {
        let mut candidates = among.candidates.iter();
        candidates
            .find(|explained| is(&explained.policy, policy))
            .map(comes_to)
    };
    // A long explanation leaves some off: those are asked by themselves.
    let alone = || {
        let set = PolicySet::from_stored([StoredPolicy::first_revision(policy)]).ok()?;
        find(&explain(&set, &case.facts, case.at))
    };
    find(explanation).or_else(alone).unwrap_or_else(|| {
        let tenant = match &case.facts.room.tenant {
            Fact::Known(Some(tenant)) => format!("{tenant:?}"),
            Fact::Known(None) => "null".to_owned(),
            Fact::Unknown => "unknown".to_owned(),
        };
        format!("does not see the room: room.tenant is {tenant}")
    })
}

fn comes_to(explained: &Explained) -> String {
    let by_clause = || explained.failed.as_ref();
    match &explained.outcome {
        PolicyOutcome::Mutes => "mutes it".to_owned(),
        PolicyOutcome::AlsoMutes => "would mute it as well".to_owned(),
        PolicyOutcome::Cancelled { by } => format!(
            "would mute it, and {} exempts it",
            display(&by.owner, &by.name)
        ),
        PolicyOutcome::Exempts => "exempts it".to_owned(),
        PolicyOutcome::ExemptsNothing => {
            "would exempt it, but no mute that it cancels is about it".to_owned()
        }
        PolicyOutcome::DryRun => "is about it, in dry run".to_owned(),
        PolicyOutcome::Off => "is as if it were not there".to_owned(),
        PolicyOutcome::DoesNotApply => match by_clause() {
            Some(clause) => format!(
                "is not about it: {}: expected {}, actual {}",
                clause.clause,
                shown(clause.expected.as_deref()),
                shown(clause.actual.as_deref())
            ),
            None => "is not about it".to_owned(),
        },
        PolicyOutcome::Depends => match by_clause() {
            Some(clause) if clause.clause == "owner" => {
                "may be about it: room.tenant is unknown; add that to facts or defaults".to_owned()
            }
            Some(clause) => format!(
                "may be about it: {}; add that to facts or defaults",
                shown(clause.actual.as_deref())
            ),
            None => "may be about it".to_owned(),
        },
    }
}

fn shown(text: Option<&str>) -> String {
    cut(text.unwrap_or_default(), SHOWN_CHARS_MAX)
}
