//! Why a decision is what it is: for every policy that sees the room, its outcome and the first clause
//! that keeps it from applying to the track.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::clause::Clause;
use super::compile::{CompiledPolicy, PolicyRef};
use super::evaluate::{Decision, Verdict, cancels, decide};
use super::facts::Facts;
use super::owner::Owner;
use super::policy::{Effect, Mode};
use super::set::PolicySet;
use super::text::TextReader;
use super::tri::Tri;

/// An explanation names at most this many policies; further ones, which do not apply, are only counted.
pub const EXPLAINED_MAX: usize = 1_000;

/// A decision, and the outcome of every policy.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The policies that see the room: first those that apply, then those that may, then the rest;
    /// each group in the order in which policies are named.
    pub candidates: Vec<Explained>,
    /// How many more there are.
    pub left_off: usize,
}

/// The outcome of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explained {
    /// Which.
    pub policy: Arc<PolicyRef>,
    /// What it does.
    pub effect: Effect,
    /// Whether it acts.
    pub mode: Mode,
    /// Whether it applies to the track.
    pub applies: Tri,
    /// Its outcome.
    #[serde(flatten)]
    pub outcome: PolicyOutcome,
    /// The first of its clauses that fails or depends on what is not known; none where it applies.
    pub failed: Option<Clause>,
}

/// The outcome of a policy in a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PolicyOutcome {
    /// The track is muted by it.
    Mutes,
    /// It would mute as well; the policy that mutes ranks before it.
    AlsoMutes,
    /// It would mute, and this exemption cancels it.
    Cancelled {
        /// The first exemption that does.
        by: Arc<PolicyRef>,
    },
    /// It exempts the track, and cancels at least one mute.
    Exempts,
    /// It exempts the track, and there is no mute that it cancels.
    ExemptsNothing,
    /// It applies, and is in dry run: it counts in the dry-run decision only.
    DryRun,
    /// It is off.
    Off,
    /// Its conditions do not hold.
    DoesNotApply,
    /// What is not known decides whether it applies.
    Depends,
}

/// Decides on one track, and explains for every policy that sees its room why it does or does not apply.
#[must_use]
pub fn explain(policies: &PolicySet, facts: &Facts, now: DateTime<Utc>) -> Explanation {
    explain_to(policies, facts, now, |_, _| true)
}

/// As [`explain`], for a caller who is told only of the policies for which `sees` returns true: it gets
/// each policy and whether it applies. The decision and the outcomes are the same.
#[must_use]
pub fn explain_to(
    policies: &PolicySet,
    facts: &Facts,
    now: DateTime<Utc>,
    sees: impl Fn(&CompiledPolicy, Tri) -> bool,
) -> Explanation {
    let decision = decide(policies, facts, now);
    let mut readers = Readers::of(policies);
    let mut asked: Vec<_> = policies
        .visible(facts)
        .map(|(policy, seen)| {
            let answer = policy.ask_with(facts, now, readers.reader_for(policy));
            (policy, seen, answer.if_seen(seen).applies())
        })
        .collect();
    let order = |applies| match applies {
        Tri::True => 0,
        Tri::Unknown => 1,
        Tri::False => 2,
    };
    asked.sort_by(|(one, _, a), (other, _, b)| {
        let ranks = || one.rank().cmp(&other.rank());
        order(*a).cmp(&order(*b)).then_with(ranks)
    });
    let acting: Vec<_> = asked
        .iter()
        .filter(|(policy, _, applies)| *applies == Tri::True && policy.mode == Mode::Enforce)
        .map(|(policy, _, _)| *policy)
        .collect();
    let told: Vec<_> = asked
        .iter()
        .filter(|(policy, _, applies)| sees(policy, *applies))
        .collect();
    let candidates = told
        .iter()
        .take(EXPLAINED_MAX)
        .map(|(policy, seen, applies)| Explained {
            policy: Arc::clone(&policy.id),
            effect: policy.effect,
            mode: policy.mode,
            applies: *applies,
            outcome: outcome(policy, *applies, &acting, &decision.enforced),
            failed: match applies {
                Tri::True => None,
                Tri::False => policy.first_failing(facts, now, readers.reader_for(policy)),
                Tri::Unknown => unseen(*seen)
                    .or_else(|| policy.first_failing(facts, now, readers.reader_for(policy))),
            },
        })
        .collect();
    Explanation {
        decision,
        candidates,
        left_off: told.len().saturating_sub(EXPLAINED_MAX),
    }
}

/// Who reads texts for the policies of each owner. Those that are `off` have one of their own: in decisions they
/// read nothing.
struct Readers<'a> {
    policies: &'a PolicySet,
    by_owner: HashMap<(&'a Owner, bool), TextReader<'a>>,
}

impl<'a> Readers<'a> {
    fn of(policies: &'a PolicySet) -> Self {
        Self {
            policies,
            by_owner: HashMap::new(),
        }
    }

    fn reader_for(&mut self, policy: &'a CompiledPolicy) -> &mut TextReader<'a> {
        let owner = policy.owner();
        let reader = self.by_owner.entry((owner, policy.mode == Mode::Off));
        reader.or_insert_with(|| self.policies.text_reader(owner))
    }
}

fn outcome(
    policy: &CompiledPolicy,
    applies: Tri,
    acting: &[&CompiledPolicy],
    enforced: &Verdict,
) -> PolicyOutcome {
    match (policy.mode, applies) {
        (Mode::Off, _) => return PolicyOutcome::Off,
        (_, Tri::False) => return PolicyOutcome::DoesNotApply,
        (_, Tri::Unknown) => return PolicyOutcome::Depends,
        (Mode::DryRun, Tri::True) => return PolicyOutcome::DryRun,
        (Mode::Enforce, Tri::True) => {}
    }
    let of = |effect: Effect| acting.iter().filter(move |other| other.effect == effect);
    if policy.effect == Effect::Exempt {
        let has_mute = of(Effect::Mute).any(|mute| cancels(&policy.id, &mute.id));
        return if has_mute {
            PolicyOutcome::Exempts
        } else {
            PolicyOutcome::ExemptsNothing
        };
    }
    if enforced.mute() == Some(&*policy.id) {
        return PolicyOutcome::Mutes;
    }
    match of(Effect::Exempt).find(|exemption| cancels(&exemption.id, &policy.id)) {
        Some(exemption) => PolicyOutcome::Cancelled {
            by: Arc::clone(&exemption.id),
        },
        None => PolicyOutcome::AlsoMutes,
    }
}

fn unseen(seen: Tri) -> Option<Clause> {
    (seen != Tri::True).then(|| {
        let actual = "the room's tenant is unknown";
        Clause::new("owner", "a room of its tenant", actual, seen).hanging_on(["room.tenant"])
    })
}
