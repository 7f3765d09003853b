//! One track as an example of what a draft changes.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::disposition::{ChangeKind, Disposition, DispositionRef, View};
use super::events::Published;
use super::replay::ReplayedTrack;
use crate::access::Viewer;
use quell_policy::{Decision, PolicyKey, PolicyRef};

/// What one set of policies does with a track, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SampleDecision {
    /// What is done.
    pub disposition: Disposition,
    /// The policy that mutes it, or exempts it. Of a track that is left alone: the mute that would
    /// apply without its own `unless`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<PolicyKey>,
    /// Of a track that is exempted: the mute that is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute: Option<PolicyKey>,
    /// The exemption's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One track of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sample {
    /// Which policies are enforced.
    pub view: View,
    /// What the draft changes for it.
    pub change: ChangeKind,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// The id of its event.
    pub event_id: String,
    /// The room's name.
    pub room: String,
    /// The room's SID.
    pub room_sid: String,
    /// The identity of the participant who publishes.
    pub identity: String,
    /// The track's SID.
    pub track_sid: String,
    /// The track's source, as `LiveKit` names it: `MICROPHONE`.
    pub source: String,
    /// By the live policies.
    pub live: SampleDecision,
    /// By the draft.
    pub draft: SampleDecision,
    /// Of a track that is not compared: the facts that were not recorded and a decision depends on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<&'static str>,
    /// How its job ended then; none where it is open.
    pub recorded: Option<String>,
}

impl Sample {
    pub(super) fn new(
        view: View,
        change: ChangeKind,
        event: &Published,
        track: &ReplayedTrack,
        viewer: &Viewer,
    ) -> Self {
        let facts = &track.facts;
        Self {
            view,
            change,
            at: track.at,
            event_id: event.event_id.clone(),
            room: facts.room.name.clone(),
            room_sid: facts.room.sid.clone(),
            identity: facts.participant.identity.clone(),
            track_sid: facts.track.sid.clone(),
            source: facts.track.source.as_str().to_owned(),
            live: SampleDecision::new(view, &track.live, viewer),
            draft: SampleDecision::new(view, &track.draft, viewer),
            missing: if change == ChangeKind::NotCompared {
                track.missing.names()
            } else {
                Vec::new()
            },
            recorded: event.settlement.clone(),
        }
    }
}

impl SampleDecision {
    /// The reason of an exemption, and an `unless`, are told only to those who may read the policy.
    fn new(view: View, decision: &Decision, viewer: &Viewer) -> Self {
        let of = |disposition, by: Option<&PolicyRef>| Self {
            disposition,
            by: by.map(PolicyRef::key),
            mute: None,
            reason: None,
        };
        let may_read = |policy: &PolicyRef| viewer.may_read(&policy.owner);
        match DispositionRef::of(view.of(decision)) {
            DispositionRef::Muted(policy) => of(Disposition::Muted, Some(policy)),
            DispositionRef::NotDecided => of(Disposition::NotDecided, None),
            DispositionRef::LeftAlone => {
                let by = decision.exempted_by_unless();
                of(Disposition::LeftAlone, by.filter(|policy| may_read(policy)))
            }
            DispositionRef::Exempted(exempted) => Self {
                mute: Some(exempted.mute.key()),
                reason: exempted
                    .reason
                    .as_deref()
                    .filter(|_| may_read(&exempted.by))
                    .map(str::to_owned),
                ..of(Disposition::Exempted, Some(&exempted.by))
            },
        }
    }
}
