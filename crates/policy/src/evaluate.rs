//! Facts, policies and time make a decision: mute by which policy, nothing, or not yet known.
//!
//! Rules: an exemption cancels mutes of its own priority or lower of its own owner. The operator's
//! also cancels tenants' mutes; a tenant's cancels an operator's mute where that is overridable
//! (priorities rank only within one owner). Any mute left mutes, and is attributed to the first of
//! them: the operator's, then the highest priority, then by name.
//!
//! Unknown facts: more mutes or fewer exemptions can only move that first one forward, fewer
//! mutes or more exemptions only back. So two extremes are decided: the most mutes with the fewest
//! exemptions, and the fewest mutes with the most exemptions. Where both come to the same verdict,
//! no unknown fact can change it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::compile::{CompiledPolicy, PolicyRef};
use super::facts::Facts;
use super::owner::Owner;
use super::policy::{Effect, Mode};
use super::set::{Effort, Matched, MatchedPolicies, PolicySet};
use super::tri::Tri;

/// A trace names at most this many policies; further ones are only counted.
pub const TRACE_MAX: usize = 200;

/// The policies that a decision names. Mostly there are one or two, for which nothing is allocated.
pub type Trace = SmallVec<[Candidate; 2]>;

/// The decision on one track at one time. Stored as JSON with the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The time that it was made for.
    pub at: DateTime<Utc>,
    /// The newest `policy_revision.id` that the policies in force had seen: with it, the decision
    /// can be made again from the stored revisions. 0: there were none yet. `None`: the decision does
    /// not say, as it was made by an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<i64>,
    /// What is done.
    pub enforced: Verdict,
    /// What would be done if dry-run policies (`mode: dry_run`) were enforced as well.
    pub dry_run: Verdict,
    /// The policies whose `match` holds, or may; in the order in which they are named.
    pub trace: Trace,
    /// How many more there are than the trace names.
    #[serde(default)]
    pub trace_left_off: usize,
    /// Whether policies of an owner were not asked, as they read more of texts than one owner's may
    /// ([`TEXT_WORK_BYTES_MAX`], twice). What they say is unknown, and stays so with these facts.
    ///
    /// [`TEXT_WORK_BYTES_MAX`]: super::limits::TEXT_WORK_BYTES_MAX
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text_limit_exceeded: bool,
}

/// One outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The track is left alone.
    Nothing {
        /// The mute that an exemption cancelled, and that exemption; none where no mute was known to
        /// match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exempted: Option<Box<Exempted>>,
    },
    /// The track is muted.
    Mute {
        /// By this policy.
        policy: Arc<PolicyRef>,
    },
    /// It depends on unknown facts.
    Indeterminate,
}

/// Who was exempted by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exempted {
    /// The mute that was cancelled; the first to be named where there are several.
    pub mute: Arc<PolicyRef>,
    /// The exemption that cancelled it.
    pub by: Arc<PolicyRef>,
    /// Why, as the exemption says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// A policy whose `match` holds, or may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub policy: Arc<PolicyRef>,
    /// What it does.
    pub effect: Effect,
    /// Whether it acts.
    pub mode: Mode,
    /// Whether it applies to the track; false where its `unless` holds.
    pub applies: Tri,
    /// Whether its `match` holds and its `unless` does too: it leaves this track alone itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exempt: bool,
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

    /// Who was exempted by what.
    #[must_use]
    pub fn exempted(&self) -> Option<&Exempted> {
        match self {
            Self::Nothing { exempted } => exempted.as_deref(),
            Self::Mute { .. } | Self::Indeterminate => None,
        }
    }

    /// Whether it depends on unknown facts.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, Self::Indeterminate)
    }
}

impl Decision {
    /// The verdict where no policy is about the track.
    fn nothing(at: DateTime<Utc>, as_of: i64) -> Self {
        Self {
            at,
            as_of: Some(as_of),
            enforced: Verdict::Nothing { exempted: None },
            dry_run: Verdict::Nothing { exempted: None },
            trace: Trace::new(),
            trace_left_off: 0,
            text_limit_exceeded: false,
        }
    }

    /// Whether either verdict depends on unknown facts.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.enforced.is_indeterminate() || self.dry_run.is_indeterminate()
    }

    /// The first enforced mute that does not apply only because of its own `unless`. It explains why
    /// a track is left alone where no exemption does.
    #[must_use]
    pub fn exempted_by_unless(&self) -> Option<&PolicyRef> {
        self.trace
            .iter()
            .find(|candidate| {
                candidate.exempt
                    && candidate.effect == Effect::Mute
                    && candidate.mode == Mode::Enforce
            })
            .map(|candidate| &*candidate.policy)
    }
}

/// Decides on one track. The same facts, policies and time always make the same decision.
#[must_use]
pub fn decide(policies: &PolicySet, facts: &Facts, now: DateTime<Utc>) -> Decision {
    // Without a limit there is always an answer.
    let matched = policies.matched(facts, now, Effort::UNLIMITED);
    rank(policies, &matched.unwrap_or_default(), now)
}

/// The same where that takes at most about a millisecond; none where it would take longer, which is then to be done
/// where nothing else waits for the thread.
#[must_use]
pub fn decide_inline(policies: &PolicySet, facts: &Facts, now: DateTime<Utc>) -> Option<Decision> {
    let matched = policies.matched(facts, now, Effort::INLINE)?;
    Some(rank(policies, &matched, now))
}

/// What the policies that match come to.
fn rank(policies: &PolicySet, found: &MatchedPolicies<'_>, now: DateTime<Utc>) -> Decision {
    let (matched, text_limit_exceeded) = (&found.policies, found.text_limit_exceeded);
    if matched.is_empty() {
        return Decision::nothing(now, policies.as_of());
    }
    let enforced = verdict(matched, |policy| policy.mode == Mode::Enforce);
    let is_dry_run = matched
        .iter()
        .any(|candidate| candidate.policy.mode != Mode::Enforce);
    Decision {
        at: now,
        as_of: Some(policies.as_of()),
        dry_run: if is_dry_run {
            verdict(matched, |_| true)
        } else {
            enforced.clone()
        },
        enforced,
        trace: matched
            .iter()
            .take(TRACE_MAX)
            .map(Candidate::from)
            .collect(),
        trace_left_off: matched.len().saturating_sub(TRACE_MAX),
        text_limit_exceeded,
    }
}

impl From<&Matched<'_>> for Candidate {
    fn from(matched: &Matched<'_>) -> Self {
        Self {
            policy: Arc::clone(&matched.policy.id),
            effect: matched.policy.effect,
            mode: matched.policy.mode,
            applies: matched.answer.applies(),
            exempt: matched.answer.exempt() == Tri::True,
        }
    }
}

/// The verdict of the policies among `matched` (in the order of their rank) for which `counts` is true.
fn verdict(matched: &[Matched<'_>], counts: fn(&CompiledPolicy) -> bool) -> Verdict {
    let those = |expected: fn(Tri) -> bool| {
        matched
            .iter()
            .filter(move |found| counts(found.policy) && expected(found.answer.applies()))
            .map(|found| found.policy)
    };
    let certain = || those(|applies| applies == Tri::True);
    let possible = || those(|applies| applies != Tri::False);
    let is_open = those(|applies| applies == Tri::Unknown).next().is_some();
    // The most that could be muted: every mute that may apply, only the exemptions that surely do.
    let most = first_mute(possible(), certain());
    // The least: only the mutes that surely apply, every exemption that may.
    let least = if is_open {
        first_mute(certain(), possible())
    } else {
        most
    };
    match (most, least) {
        (Some(most), Some(least)) if std::ptr::eq(most, least) => Verdict::Mute {
            policy: Arc::clone(&most.id),
        },
        (None, None) => Verdict::Nothing {
            exempted: exempted(certain).map(Box::new),
        },
        _ => Verdict::Indeterminate,
    }
}

/// The first of the mutes among `policies` that none of the exemptions among `shield` cancels.
fn first_mute<'a>(
    mut policies: impl Iterator<Item = &'a CompiledPolicy>,
    shield: impl Iterator<Item = &'a CompiledPolicy>,
) -> Option<&'a CompiledPolicy> {
    let shield = Shield::new(shield);
    policies.find(|policy| policy.effect == Effect::Mute && !shield.cancels(policy))
}

/// The first of the mutes, all of which are cancelled, and the first exemption that cancels it.
fn exempted<'a, I: Iterator<Item = &'a CompiledPolicy>>(
    policies: impl Fn() -> I,
) -> Option<Exempted> {
    let mute = policies().find(|policy| policy.effect == Effect::Mute)?;
    let by = policies()
        .find(|policy| policy.effect == Effect::Exempt && cancels(&policy.id, &mute.id))?;
    Some(Exempted {
        mute: Arc::clone(&mute.id),
        by: Arc::clone(&by.id),
        reason: by.reason.clone(),
    })
}

/// Whether this exemption cancels this mute.
pub(super) fn cancels(exemption: &PolicyRef, mute: &PolicyRef) -> bool {
    outranks(
        (&exemption.owner, exemption.priority),
        (&mute.owner, mute.priority),
        mute.overridable,
    )
}

/// Whether an exemption of this owner and priority cancels such a mute.
pub(crate) fn outranks(exemption: (&Owner, u16), mute: (&Owner, u16), overridable: bool) -> bool {
    match (exemption.0, mute.0) {
        (one, other) if one == other => exemption.1 >= mute.1,
        (Owner::Operator, _) => true,
        (_, Owner::Operator) => overridable,
        (_, _) => false,
    }
}

/// Answers `cancels` for a group of exemptions without comparing with each of them.
///
/// Those of one tenant at most surely apply, and where the tenant is unknown none does: a tenant's mute is
/// weighed against exemptions of its own, or is only possible and is weighed against none.
#[derive(Default)]
struct Shield {
    operator: Option<u16>,
    tenant: Option<u16>,
}

impl Shield {
    fn new<'a>(policies: impl Iterator<Item = &'a CompiledPolicy>) -> Self {
        let mut shield = Self::default();
        for policy in policies.filter(|policy| policy.effect == Effect::Exempt) {
            let highest = match policy.owner() {
                Owner::Operator => &mut shield.operator,
                Owner::Tenant(_) => &mut shield.tenant,
            };
            *highest = (*highest).max(Some(policy.id.priority));
        }
        shield
    }

    fn cancels(&self, mute: &CompiledPolicy) -> bool {
        let priority = Some(mute.id.priority);
        match mute.owner() {
            Owner::Operator => {
                self.operator >= priority || mute.id.overridable && self.tenant.is_some()
            }
            Owner::Tenant(_) => self.operator.is_some() || self.tenant >= priority,
        }
    }
}
