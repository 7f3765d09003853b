//! A plan as it is answered: rooms by name, at most 1,000 of their tracks named, and all counted.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::PlanError;
use crate::draft::DraftPolicy;
use crate::sweep::ListedRoom;
use quell_policy::{PolicyKey, TenantId};

/// What a draft would do to who is live.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Plan {
    /// The time that it is made for.
    pub at: DateTime<Utc>,
    /// The newest change of policies that it includes: `apply` refuses to go on from another one. None for tenants,
    /// since the number would tell how often others change theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<i64>,
    /// How the draft differs from what is stored.
    pub policies: Vec<DraftPolicy>,
    /// How many tracks and rooms there are, named or not.
    pub counts: PlanCounts,
    /// Whether all rooms were read; else the time was over.
    pub is_whole: bool,
    /// The room after which the next plan goes on, where not all tracks are named or not all rooms were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Rooms in which something changes or stays, by name.
    pub rooms: Vec<PlannedRoom>,
    /// What may be a mistake in the draft, and policies that cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlanCounts {
    /// Rooms that were read.
    pub rooms: usize,
    /// Tracks that are heard and would be muted.
    pub would_silence: usize,
    /// Tracks that are forbidden now and would not be. Nothing unmutes them.
    pub no_longer_forbidden: usize,
    /// Tracks that are muted and would be forbidden.
    pub stays_silent: usize,
    /// Tracks that would be forbidden and that a person lets speak.
    pub let_speak: usize,
    /// Tracks of which a fact is unknown that it depends on.
    pub undecided: usize,
    /// Rooms that could not be read.
    pub failed: usize,
    /// Rooms and participants with too much metadata to be read.
    pub skipped: usize,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlannedRoom {
    /// Its name.
    pub room: String,
    /// Its SID.
    pub room_sid: String,
    /// Whose it is; for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its tracks.
    #[serde(flatten)]
    pub tracks: Tracks,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_off: usize,
}

/// Tracks by what becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tracks {
    /// Heard, and would be muted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_silence: Vec<PlannedTrack>,
    /// Forbidden now, and would not be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_longer_forbidden: Vec<PlannedTrack>,
    /// Muted, and would be forbidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stays_silent: Vec<PlannedTrack>,
    /// Would be forbidden, and a person lets it speak.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub let_speak: Vec<PlannedTrack>,
    /// Depends on a fact that is unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<PlannedTrack>,
}

/// A track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlannedTrack {
    /// Who publishes it.
    pub identity: String,
    /// Its SID.
    pub track_sid: String,
    /// Its source, in LiveKit's words.
    pub source: String,
    /// Whether it is muted.
    pub muted: bool,
    /// The policy that would forbid it, or that does.
    pub policy: Option<PolicyKey>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Tracks {
    fn lists(&self) -> [&Vec<PlannedTrack>; 5] {
        [
            &self.would_silence,
            &self.no_longer_forbidden,
            &self.stays_silent,
            &self.let_speak,
            &self.undecided,
        ]
    }

    fn len(&self) -> usize {
        self.lists().map(Vec::len).iter().sum()
    }

    /// The first of them, in the order of the lists.
    fn truncate(&mut self, mut max: usize) {
        for list in [
            &mut self.would_silence,
            &mut self.no_longer_forbidden,
            &mut self.stays_silent,
            &mut self.let_speak,
            &mut self.undecided,
        ] {
            list.truncate(max);
            max -= list.len();
        }
    }
}

/// What was read of one room.
pub(super) struct RoomPlan {
    sid: String,
    tenant: Option<TenantId>,
    pub(super) tracks: Tracks,
    skipped: usize,
}

impl RoomPlan {
    pub(super) fn new(room: &ListedRoom, skipped: usize) -> Self {
        Self {
            sid: room.sid.clone(),
            tenant: room.tenant.clone(),
            tracks: Tracks::default(),
            skipped,
        }
    }
}

/// Names at most `left` tracks, and counts all.
pub(super) struct Naming {
    left: usize,
    is_operator: bool,
    /// The last room that was named whole.
    named: Option<String>,
    pub(super) counts: PlanCounts,
    pub(super) rooms: Vec<PlannedRoom>,
    pub(super) next: Option<String>,
}

impl Naming {
    pub(super) fn new(max: usize, is_operator: bool) -> Self {
        Self {
            left: max,
            is_operator,
            named: None,
            counts: PlanCounts::default(),
            rooms: Vec::new(),
            next: None,
        }
    }

    /// Adds a room; they come by name.
    pub(super) fn add(&mut self, name: &str, read: Result<RoomPlan, PlanError>) {
        self.counts.rooms += 1;
        let RoomPlan {
            sid,
            tenant,
            mut tracks,
            skipped,
        } = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, room = name, "a room could not be read for a plan");
                self.counts.failed += 1;
                return;
            }
        };
        let [
            would_silence,
            no_longer_forbidden,
            stays_silent,
            let_speak,
            undecided,
        ] = tracks.lists().map(Vec::len);
        self.counts.would_silence += would_silence;
        self.counts.no_longer_forbidden += no_longer_forbidden;
        self.counts.stays_silent += stays_silent;
        self.counts.let_speak += let_speak;
        self.counts.undecided += undecided;
        self.counts.skipped += skipped;
        let count = tracks.len();
        if self.next.is_some() {
            return;
        }
        if count > self.left && !self.rooms.is_empty() {
            self.next.clone_from(&self.named);
            return;
        }
        self.named = Some(name.to_owned());
        if count == 0 {
            return;
        }
        // A room that is more than a whole plan is cut, or nothing would ever come after it.
        tracks.truncate(self.left);
        let left_off = count - tracks.len();
        self.left -= tracks.len();
        self.rooms.push(PlannedRoom {
            room: name.to_owned(),
            room_sid: sid,
            tenant: tenant.filter(|_| self.is_operator),
            tracks,
            left_off,
        });
    }

    /// No more rooms are read after `done`.
    pub(super) fn stop(&mut self, done: Option<&str>) {
        if self.next.is_none() {
            self.next = done.map(str::to_owned);
        }
    }
}
