//! One track as an example of what a draft changes.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::events::Published;
use super::replay::Decided;
use super::tally::{Shift, View};
use crate::access::Viewer;
use quell_policy::{Decision, PolicyKey, PolicyRef, Verdict};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It is muted.
    Muted,
    /// An exemption cancels its mute.
    Exempted,
    /// No mute is about it.
    LeftAlone,
    /// A fact that it hangs on was not recorded.
    NotDecided,
}

/// What one set of policies does to a track, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampleRuling {
    /// What is done.
    pub ruling: Word,
    /// The policy that mutes it, or exempts it; of one left alone, the mute that would be about it
    /// but for its own `unless`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<PolicyKey>,
    /// Of one that is exempted, the mute that is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute: Option<PolicyKey>,
    /// Why, as the exemption says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Which policies act in earnest.
    pub view: View,
    /// What the draft changes for it.
    pub change: Shift,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// The event that told of it.
    pub event_id: String,
    /// The room.
    pub room: String,
    /// The room's SID.
    pub room_sid: String,
    /// Who publishes.
    pub identity: String,
    /// The track.
    pub track_sid: String,
    /// What it is a track of.
    pub source: String,
    /// By what is live.
    pub live: SampleRuling,
    /// By the draft.
    pub draft: SampleRuling,
    /// What was not recorded and one of the two hangs on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<&'static str>,
    /// How it ended then; none where it was not over.
    pub recorded: Option<String>,
}

/// For whose eyes a sample is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SampleOf<'a> {
    /// To whom others' policies are names.
    pub(super) viewer: &'a Viewer,
}

impl Sample {
    pub(super) fn new(
        view: View,
        change: Shift,
        event: &Published,
        decided: &Decided,
        of: SampleOf<'_>,
    ) -> Self {
        let facts = &decided.facts;
        Self {
            view,
            change,
            at: decided.at,
            event_id: event.event_id.clone(),
            room: facts.room.name.clone(),
            room_sid: facts.room.sid.clone(),
            identity: facts.participant.identity.clone(),
            track_sid: facts.track.sid.clone(),
            source: facts.track.source.as_str().to_owned(),
            live: of.ruling(view, &decided.live),
            draft: of.ruling(view, &decided.draft),
            missing: if change == Shift::NotCompared {
                decided.missing.names()
            } else {
                Vec::new()
            },
            recorded: event.settlement.clone(),
        }
    }
}

impl SampleOf<'_> {
    fn ruling(self, view: View, decision: &Decision) -> SampleRuling {
        let ruling = |ruling, by: Option<&PolicyRef>| SampleRuling {
            ruling,
            by: by.map(PolicyRef::key),
            mute: None,
            reason: None,
        };
        match view.of(decision) {
            Verdict::Mute { policy } => ruling(Word::Muted, Some(policy)),
            Verdict::Indeterminate => ruling(Word::NotDecided, None),
            Verdict::Nothing { exempted: None } => {
                let by = decision
                    .excepted_by()
                    .filter(|policy| self.viewer.may_read(&policy.owner));
                ruling(Word::LeftAlone, by)
            }
            Verdict::Nothing {
                exempted: Some(exempted),
            } => SampleRuling {
                mute: Some(exempted.mute.key()),
                reason: exempted
                    .reason
                    .as_deref()
                    .filter(|_| self.viewer.may_read(&exempted.by.owner))
                    .map(str::to_owned),
                ..ruling(Word::Exempted, Some(&exempted.by))
            },
        }
    }
}
