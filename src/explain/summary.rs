//! Decisions as sentences.

use quell_policy::{Decision, Effect, Explained, Mode, PolicyOutcome, PolicyRef, Tri, Verdict};

/// At most this many policies that may apply are named in a sentence.
const OPEN_NAMED_MAX: usize = 3;

const TEXT_LIMIT_EXCEEDED: &str =
    "not decided: policies of one owner read more of this track's texts than they may";

/// A policy's owner and name: `acme/quiet`.
pub(super) fn named(policy: &PolicyRef) -> String {
    let owner = &policy.owner;
    format!("{owner}/{}", policy.name)
}

/// What is decided, and what would be if dry-run policies were enforced, where that differs.
pub(super) fn of(
    decision: &Decision,
    candidates: &[Explained],
    missing: &[&str],
) -> (String, Option<String>) {
    let sentence = |verdict: &Verdict, with_dry_run| {
        if verdict.is_indeterminate() && decision.text_limit_exceeded {
            return TEXT_LIMIT_EXCEEDED.to_owned();
        }
        sentence(verdict, candidates, missing, with_dry_run)
    };
    let enforced = sentence(&decision.enforced, false);
    if decision.dry_run == decision.enforced {
        return (enforced, None);
    }
    let dry_run = sentence(&decision.dry_run, true);
    (enforced, Some(dry_run))
}

/// A verdict with the names of its policies.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Mute { policy } => format!("muted by {}", ranked(policy)),
        Verdict::Nothing {
            exempted: Some(exempted),
        } => format!(
            "left alone: {} cancels {}{}",
            ranked(&exempted.by),
            ranked(&exempted.mute),
            because(exempted.reason.as_deref())
        ),
        Verdict::Nothing { exempted: None } => "left alone: no mute applies".to_owned(),
        Verdict::Indeterminate => "not decided: facts are unknown that would decide".to_owned(),
    }
}

fn sentence(
    enforced: &Verdict,
    candidates: &[Explained],
    missing: &[&str],
    with_dry_run: bool,
) -> String {
    let counts = |mode| mode == Mode::Enforce || (with_dry_run && mode == Mode::DryRun);
    match enforced {
        Verdict::Mute { .. } => {
            let is_also =
                |one: &&Explained| !with_dry_run && one.outcome == PolicyOutcome::AlsoMutes;
            let decided = verdict(enforced);
            match candidates.iter().filter(is_also).count() {
                0 => decided,
                1 => format!("{decided}; one more mute applies"),
                many => format!("{decided}; {many} more mutes apply"),
            }
        }
        Verdict::Nothing { exempted: None } => {
            let exempt = candidates.iter().find(|one| {
                let failed = one.failed.as_ref();
                let is_unless = failed.is_some_and(|failed| failed.clause == "unless");
                let is_mute = one.effect == Effect::Mute && counts(one.mode);
                is_mute && one.applies == Tri::False && is_unless
            });
            match exempt {
                Some(one) => format!(
                    "left alone: no mute applies; {} does not because of its `unless`",
                    ranked(&one.policy)
                ),
                None => verdict(enforced),
            }
        }
        Verdict::Nothing { exempted: Some(_) } => verdict(enforced),
        Verdict::Indeterminate => undecided(candidates, missing, counts),
    }
}

fn undecided(candidates: &[Explained], missing: &[&str], counts: impl Fn(Mode) -> bool) -> String {
    let open: Vec<_> = candidates
        .iter()
        .filter(|one| one.applies == Tri::Unknown && counts(one.mode))
        .collect();
    let mut policies: Vec<_> = open
        .iter()
        .take(OPEN_NAMED_MAX)
        .map(|one| ranked(&one.policy))
        .collect();
    let more = open.len().saturating_sub(OPEN_NAMED_MAX);
    if more > 0 {
        policies.push(format!("{more} more"));
    }
    match (missing, policies.as_slice()) {
        ([], _) | (_, []) => verdict(&Verdict::Indeterminate),
        ([fact], policies) => format!(
            "not decided: {fact} is unknown, and {} may apply",
            policies.join(", ")
        ),
        (facts, policies) => format!(
            "not decided: {} are unknown, and {} may apply",
            facts.join(", "),
            policies.join(", ")
        ),
    }
}

fn ranked(policy: &PolicyRef) -> String {
    let (name, priority) = (named(policy), policy.priority);
    match policy.revision {
        // Policies of files have none yet.
        0 => format!("{name} (priority {priority})"),
        revision => format!("{name} (revision {revision}, priority {priority})"),
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}
