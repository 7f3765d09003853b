//! Facts, policies and time make a decision: mute by which policy, nothing, or not yet known.
//!
//! Rules: an exemption cancels mutes of its own priority or lower of its own owner. The operator's
//! also cancels tenants' mutes; a tenant's cancels an operator's mute where that is overridable
//! (priorities rank only within one owner). Any mute left mutes, and is attributed to the first of
//! them: the operator's, then the highest priority, then by name.
//!
//! Unknown facts: more mutes or fewer exemptions can only move that first one forward, fewer
//! mutes or more exemptions only back. So the most and the least that could turn out to be so are
//! both decided, and where they agree nothing that is unknown can change the outcome.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::compile::{Answer, CompiledPolicy};
use super::document::{Effect, Mode};
use super::facts::Facts;
use super::set::PolicySet;
use super::tri::Tri;

/// A trace names so many policies; further ones are only counted.
pub const TRACE_MAX: usize = 200;

/// What came of facts, policies and time. Stored as JSON with the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The time it was made for.
    pub at: DateTime<Utc>,
    /// What is done.
    pub enforced: Verdict,
    /// What would be done if policies on trial (`mode: dry_run`) were enforced as well.
    pub shadow: Verdict,
    /// The policies whose `match` holds, or may; in the order in which they are named.
    pub trace: Vec<Candidate>,
    /// How many more there are than the trace names.
    #[serde(default)]
    pub trace_left_off: usize,
}

/// One outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The track is left alone.
    Nothing {
        /// The mute that would have been, and what cancelled it; none where no mute was known to
        /// match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spared: Option<Box<Spared>>,
    },
    /// The track is muted.
    Mute {
        /// By this policy.
        policy: PolicyRef,
    },
    /// Facts that could not be had would decide.
    Indeterminate,
}

/// Who was spared by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spared {
    /// The mute that was cancelled; the first to be named where there are several.
    pub mute: PolicyRef,
    /// The exemption that cancelled it.
    pub by: PolicyRef,
    /// Why, as the exemption says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One revision of a policy, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The tenant; none is the operator.
    pub owner: Option<String>,
    /// Its name.
    pub name: String,
    /// Which revision.
    pub revision: i32,
    /// Its rank among its owner's.
    pub priority: u16,
    /// Whether a tenant's exemption cancels it.
    pub overridable: bool,
}

/// A policy whose `match` holds, or may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub policy: PolicyRef,
    /// What it does.
    pub effect: Effect,
    /// Whether it acts.
    pub mode: Mode,
    /// Whether it applies to the track; false where its `unless` holds.
    pub applies: Tri,
    /// Whether its `match` holds and its `unless` does too: it leaves this track alone itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excepted: bool,
}

impl Verdict {
    /// The policy that mutes.
    #[must_use]
    pub fn mute(&self) -> Option<&PolicyRef> {
        match self {
            Self::Mute { policy } => Some(policy),
            Self::Nothing { .. } | Self::Indeterminate => None,
        }
    }

    /// Who was spared by what.
    #[must_use]
    pub fn spared(&self) -> Option<&Spared> {
        match self {
            Self::Nothing { spared } => spared.as_deref(),
            Self::Mute { .. } | Self::Indeterminate => None,
        }
    }

    /// Whether facts that could not be had would decide.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, Self::Indeterminate)
    }
}

impl Decision {
    /// Whether facts that could not be had would decide what is done or what would be.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.enforced.is_indeterminate() || self.shadow.is_indeterminate()
    }

    /// The first enforced mute that would be about the track but for its own `unless`: why a
    /// track is left alone where nothing else says it.
    #[must_use]
    pub fn excepted_by(&self) -> Option<&PolicyRef> {
        self.trace
            .iter()
            .find(|candidate| {
                candidate.excepted
                    && candidate.effect == Effect::Mute
                    && candidate.mode == Mode::Enforce
            })
            .map(|candidate| &candidate.policy)
    }
}

impl From<&CompiledPolicy> for PolicyRef {
    fn from(policy: &CompiledPolicy) -> Self {
        Self {
            owner: policy.key.owner.clone(),
            name: policy.key.name.clone(),
            revision: policy.revision,
            priority: policy.priority,
            overridable: policy.overridable,
        }
    }
}

/// Decides on one track. The same facts, policies and time always make the same decision.
#[must_use]
pub fn decide(policies: &PolicySet, facts: &Facts, now: DateTime<Utc>) -> Decision {
    let mut matched: Vec<Matched<'_>> = policies
        .candidates(facts)
        .map(|(policy, seen)| Matched {
            policy,
            answer: policy.ask(facts, now).if_seen(seen),
        })
        .filter(|candidate| candidate.answer.matched != Tri::False)
        .collect();
    matched.sort_by_key(|candidate| rank(candidate.policy));
    let enforced: Vec<_> = matched
        .iter()
        .copied()
        .filter(|candidate| candidate.policy.mode == Mode::Enforce)
        .collect();
    Decision {
        at: now,
        enforced: verdict(&enforced),
        shadow: verdict(&matched),
        trace: matched
            .iter()
            .take(TRACE_MAX)
            .map(Candidate::from)
            .collect(),
        trace_left_off: matched.len().saturating_sub(TRACE_MAX),
    }
}

/// A policy whose `match` is not known to fail.
#[derive(Clone, Copy)]
struct Matched<'a> {
    policy: &'a CompiledPolicy,
    answer: Answer,
}

impl From<&Matched<'_>> for Candidate {
    fn from(matched: &Matched<'_>) -> Self {
        Self {
            policy: PolicyRef::from(matched.policy),
            effect: matched.policy.effect,
            mode: matched.policy.mode,
            applies: matched.answer.applies(),
            excepted: matched.answer.excepted() == Tri::True,
        }
    }
}

/// What orders policies: who is named first where several mute. Owners of tenants come last so
/// that the order is total; only one tenant's policies ever act in a room.
fn rank(policy: &CompiledPolicy) -> (bool, Reverse<u16>, &str, Option<&str>) {
    let owner = policy.key.owner.as_deref();
    (
        owner.is_some(),
        Reverse(policy.priority),
        &policy.key.name,
        owner,
    )
}

/// The verdict of these policies, which come in the order of their rank.
fn verdict(matched: &[Matched<'_>]) -> Verdict {
    let those = |wanted: fn(Tri) -> bool| {
        matched
            .iter()
            .filter(move |candidate| wanted(candidate.answer.applies()))
            .map(|candidate| candidate.policy)
    };
    let certain = || those(|applies| applies == Tri::True);
    let possible = || those(|applies| applies != Tri::False);
    // The most that could be muted: every mute that may apply, the exemptions that surely do.
    let most = first_mute(possible(), &Shield::new(certain()));
    // The least: the mutes that surely apply, every exemption that may.
    let least = first_mute(certain(), &Shield::new(possible()));
    match (most, least) {
        (Some(most), Some(least)) if most.key == least.key => Verdict::Mute {
            policy: PolicyRef::from(most),
        },
        (None, None) => Verdict::Nothing {
            spared: spared(&certain().collect::<Vec<_>>()).map(Box::new),
        },
        _ => Verdict::Indeterminate,
    }
}

fn first_mute<'a>(
    mut policies: impl Iterator<Item = &'a CompiledPolicy>,
    shield: &Shield<'_>,
) -> Option<&'a CompiledPolicy> {
    policies.find(|policy| policy.effect == Effect::Mute && !shield.cancels(policy))
}

/// The first of the mutes, all of which are cancelled, and the first exemption that cancels it.
fn spared(policies: &[&CompiledPolicy]) -> Option<Spared> {
    let of = |effect: Effect| {
        policies
            .iter()
            .filter(move |policy| policy.effect == effect)
    };
    let mute = of(Effect::Mute).next()?;
    let by = of(Effect::Exempt).find(|exemption| cancels(exemption, mute))?;
    Some(Spared {
        mute: PolicyRef::from(*mute),
        by: PolicyRef::from(*by),
        reason: by.reason.clone(),
    })
}

/// Whether this exemption cancels this mute.
fn cancels(exemption: &CompiledPolicy, mute: &CompiledPolicy) -> bool {
    match (&exemption.key.owner, &mute.key.owner) {
        (one, other) if one == other => exemption.priority >= mute.priority,
        (None, Some(_)) => true,
        (Some(_), None) => mute.overridable,
        (_, _) => false,
    }
}

/// What a group of exemptions cancels, without asking each of them: `cancels` for any of them.
struct Shield<'a> {
    highest: HashMap<Option<&'a str>, u16>,
    any_tenants: bool,
}

impl<'a> Shield<'a> {
    fn new(policies: impl Iterator<Item = &'a CompiledPolicy>) -> Self {
        let mut highest = HashMap::new();
        for policy in policies {
            if policy.effect == Effect::Exempt {
                let of_owner = highest.entry(policy.key.owner.as_deref()).or_insert(0);
                *of_owner = policy.priority.max(*of_owner);
            }
        }
        Self {
            any_tenants: highest.keys().any(Option::is_some),
            highest,
        }
    }

    fn cancels(&self, mute: &CompiledPolicy) -> bool {
        let owner = mute.key.owner.as_deref();
        self.highest
            .get(&owner)
            .is_some_and(|priority| *priority >= mute.priority)
            || match owner {
                Some(_) => self.highest.contains_key(&None),
                None => mute.overridable && self.any_tenants,
            }
    }
}
