//! What one set of policies does with a track, and what a draft changes about it.

use schemars::JsonSchema;
use serde::Serialize;

use quell_policy::{Decision, Exempted, PolicyRef, Verdict};

/// Which policies are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Those with `mode: enforce`: what is done.
    Enforced,
    /// Those in dry run (`mode: dry_run`) as well: what would be done if they were enforced.
    DryRun,
}

impl View {
    pub(super) const ALL: [Self; 2] = [Self::Enforced, Self::DryRun];

    pub(super) fn of(self, decision: &Decision) -> &Verdict {
        match self {
            Self::Enforced => &decision.enforced,
            Self::DryRun => &decision.dry_run,
        }
    }
}

/// What a set of policies does with a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It is muted.
    Muted,
    /// An exemption cancels its mute.
    Exempted,
    /// No mute applies to it.
    LeftAlone,
    /// It depends on a fact that was not recorded.
    NotDecided,
}

/// The same, with the policies that decide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DispositionRef<'d> {
    Muted(&'d PolicyRef),
    Exempted(&'d Exempted),
    LeftAlone,
    NotDecided,
}

impl<'d> DispositionRef<'d> {
    pub(super) fn of(verdict: &'d Verdict) -> Self {
        match verdict {
            Verdict::Mute { policy } => Self::Muted(policy),
            Verdict::Nothing { exempted } => {
                exempted.as_deref().map_or(Self::LeftAlone, Self::Exempted)
            }
            Verdict::Indeterminate => Self::NotDecided,
        }
    }
}

/// What the draft changes for one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Not muted by the live policies, muted by the draft.
    NewlyMuted,
    /// Muted by the live policies, not by the draft.
    NoLongerMuted,
    /// Muted by both, but by another policy.
    MutedByAnother,
    /// Nothing.
    Same,
    /// One of the two depends on a fact that was not recorded.
    NotCompared,
}

impl ChangeKind {
    pub(super) fn of(live: DispositionRef<'_>, draft: DispositionRef<'_>) -> Self {
        use DispositionRef::{Exempted, LeftAlone, Muted, NotDecided};
        match (live, draft) {
            (NotDecided, _) | (_, NotDecided) => Self::NotCompared,
            (Muted(one), Muted(other)) => {
                // Another revision of the same policy is the same policy.
                if one.owner == other.owner && one.name == other.name {
                    Self::Same
                } else {
                    Self::MutedByAnother
                }
            }
            (Exempted(_) | LeftAlone, Muted(_)) => Self::NewlyMuted,
            (Muted(_), Exempted(_) | LeftAlone) => Self::NoLongerMuted,
            (Exempted(_) | LeftAlone, Exempted(_) | LeftAlone) => Self::Same,
        }
    }
}
