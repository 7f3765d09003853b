//! Adds up what the live policies and the draft do with the same tracks; pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::by_policy::ByPolicy;
use super::count::{Counted, Counter, Headings};
use super::disposition::{ChangeKind, DispositionRef, View};
use super::events::Published;
use super::missing::{MissingFacts, MissingTally};
use super::replay::{Replayed, ReplayedTrack};
use super::sample::Sample;
use super::stride_sample::StrideSample;
use crate::access::Viewer;
use quell_policy::{Decision, Mode, Tri};

const PUBLISHED: Headings = 1;
const EXCLUDED: Headings = 1 << 1;
// The headings of `View::Enforced`; those of `View::DryRun` are shifted by `TO_DRY_RUN`.
const MUTED: Headings = 1 << 2;
const EXEMPTED: Headings = 1 << 3;
const LEFT_ALONE: Headings = 1 << 4;
/// From a disposition's heading by the live policies to that by the draft.
const TO_DRAFT: u32 = 3;
const NEWLY_MUTED: Headings = 1 << 8;
const NO_LONGER_MUTED: Headings = 1 << 9;
const MUTED_BY_ANOTHER: Headings = 1 << 10;
const SAME: Headings = 1 << 11;
const NOT_COMPARED: Headings = 1 << 12;
const TO_DRY_RUN: u32 = 11;
const NOTHING_KNOWN: Headings = EXCLUDED | NOT_COMPARED | (NOT_COMPARED << TO_DRY_RUN);

/// How many tracks have each disposition by one set of policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DispositionCounts {
    /// Muted.
    pub muted: Counted,
    /// Left alone because an exemption cancels a mute.
    pub exempted: Counted,
    /// Left alone because no mute applies.
    pub left_alone: Counted,
}

/// How many tracks the draft changes, by the kind of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChangeCounts {
    /// Not muted by the live policies, muted by the draft.
    pub newly_muted: Counted,
    /// Muted by the live policies, not by the draft.
    pub no_longer_muted: Counted,
    /// Muted by both, but by another policy.
    pub muted_by_another: Counted,
    /// Unchanged.
    pub same: Counted,
}

/// Compares the live policies and the draft over the tracks that both can decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DraftComparison {
    /// By the live policies.
    pub live: DispositionCounts,
    /// By the draft.
    pub draft: DispositionCounts,
    /// The difference, track by track.
    pub changes: ChangeCounts,
    /// Tracks that one of the two cannot decide, and those without readable facts.
    pub not_compared: Counted,
}

/// Tracks that are excluded from a comparison, by the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Excluded {
    /// All of them: the sum of the fields below.
    pub tracks: u64,
    /// Their jobs are open: nothing is recorded yet.
    pub not_settled: u64,
    /// Their jobs were given up before anything was recorded.
    pub without_facts: u64,
    /// This version cannot read what was recorded.
    pub unreadable: u64,
    /// A fact that a decision depends on was not recorded: the most frequent sets of such facts.
    pub missing: Vec<MissingFacts>,
    /// How many more tracks lack facts.
    pub missing_left_off: u64,
}

/// Everything that was counted.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) published: Counted,
    pub(super) between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    pub(super) enforced: DraftComparison,
    pub(super) dry_run: DraftComparison,
    pub(super) recorded: BTreeMap<String, u64>,
    pub(super) excluded: Excluded,
    pub(super) by_policy: ByPolicy,
    pub(super) samples: Vec<Sample>,
    pub(super) is_capped: bool,
    /// Whether a dry-run policy applied to one of the tracks, or may have.
    pub(super) dry_run_seen: bool,
}

/// Counts track by track.
#[derive(Debug)]
pub(super) struct Tally {
    /// Who reads the report.
    viewer: Viewer,
    dry_run_seen: bool,
    counter: Counter,
    between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    recorded: BTreeMap<String, u64>,
    excluded: Excluded,
    missing: MissingTally,
    by_policy: ByPolicy,
    samples_max: usize,
    samples: BTreeMap<(View, ChangeKind), StrideSample<Sample>>,
}

impl Tally {
    /// Keeps `samples_max` samples of each kind of change, for `viewer`.
    pub(super) fn new(samples_max: usize, viewer: Viewer) -> Self {
        Self {
            viewer,
            dry_run_seen: false,
            counter: Counter::new(),
            between: None,
            recorded: BTreeMap::new(),
            excluded: Excluded::default(),
            missing: MissingTally::default(),
            by_policy: ByPolicy::default(),
            samples_max,
            samples: BTreeMap::new(),
        }
    }

    /// Who reads the report.
    pub(super) fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// How many tracks there were.
    pub(super) fn tracks(&self) -> u64 {
        self.counter.under(PUBLISHED).tracks
    }

    pub(super) fn add(&mut self, event: &Published, replayed: &Replayed) {
        let at = event.created_at;
        self.between = Some(
            self.between
                .map_or((at, at), |(from, to)| (from.min(at), to.max(at))),
        );
        let settlement = event.settlement.as_deref().unwrap_or("open");
        match self.recorded.get_mut(settlement) {
            Some(count) => *count += 1,
            None => drop(self.recorded.insert(settlement.to_owned(), 1)),
        }
        let headings = match replayed {
            Replayed::NoFacts if event.settlement.is_none() => {
                self.excluded.not_settled += 1;
                NOTHING_KNOWN
            }
            Replayed::NoFacts => {
                self.excluded.without_facts += 1;
                NOTHING_KNOWN
            }
            Replayed::Unreadable => {
                self.excluded.unreadable += 1;
                NOTHING_KNOWN
            }
            Replayed::Decided(track) => self.add_decided(event, track),
        };
        let room = event.room_sid.as_deref().unwrap_or_default();
        let identity = event.identity.as_deref().unwrap_or_default();
        self.counter.add(room, identity, headings | PUBLISHED);
    }

    fn add_decided(&mut self, event: &Published, track: &ReplayedTrack) -> Headings {
        self.dry_run_seen |= dry_run(&track.live) || dry_run(&track.draft);
        let [enforced, dry_run] = View::ALL.map(|view| {
            let live = DispositionRef::of(view.of(&track.live));
            let draft = DispositionRef::of(view.of(&track.draft));
            let change = ChangeKind::of(live, draft);
            if change != ChangeKind::NotCompared {
                self.by_policy.add(view, live, draft);
            }
            (headings(live, draft, change), change)
        });
        let mut headings = enforced.0 | (dry_run.0 << TO_DRY_RUN);
        let is_excluded = [enforced.1, dry_run.1].contains(&ChangeKind::NotCompared);
        if is_excluded {
            headings |= EXCLUDED;
            self.missing.add(track.missing, track.by_event_alone);
        }
        // A change that is the same in both views is shown once.
        let shown = [
            (View::Enforced, enforced.1, true),
            (View::DryRun, dry_run.1, dry_run.1 != enforced.1),
        ];
        for (view, change, is_shown) in shown {
            if is_shown && change != ChangeKind::Same {
                self.samples
                    .entry((view, change))
                    .or_insert_with(|| StrideSample::new(self.samples_max))
                    .offer(|| Sample::new(view, change, event, track, &self.viewer));
            }
        }
        headings
    }

    pub(super) fn finish(self) -> Totals {
        let (missing, missing_left_off) = self.missing.finish();
        let comparison = |shift: u32| comparison(&self.counter, shift);
        Totals {
            published: self.counter.under(PUBLISHED),
            between: self.between,
            enforced: comparison(0),
            dry_run: comparison(TO_DRY_RUN),
            recorded: self.recorded,
            excluded: Excluded {
                tracks: self.counter.under(EXCLUDED).tracks,
                missing,
                missing_left_off,
                ..self.excluded
            },
            by_policy: self.by_policy,
            samples: self
                .samples
                .into_values()
                .flat_map(StrideSample::finish)
                .collect(),
            is_capped: self.counter.is_capped(),
            dry_run_seen: self.dry_run_seen,
        }
    }
}

fn dry_run(decision: &Decision) -> bool {
    let is_dry_run = decision
        .trace
        .iter()
        .any(|candidate| candidate.mode == Mode::DryRun && candidate.applies != Tri::False);
    // A long trace leaves some off.
    is_dry_run || decision.enforced != decision.dry_run
}

fn headings(live: DispositionRef<'_>, draft: DispositionRef<'_>, change: ChangeKind) -> Headings {
    let of = |disposition| match disposition {
        DispositionRef::Muted(_) => MUTED,
        DispositionRef::Exempted(_) => EXEMPTED,
        DispositionRef::LeftAlone => LEFT_ALONE,
        DispositionRef::NotDecided => 0,
    };
    let heading = match change {
        ChangeKind::NotCompared => return NOT_COMPARED,
        ChangeKind::NewlyMuted => NEWLY_MUTED,
        ChangeKind::NoLongerMuted => NO_LONGER_MUTED,
        ChangeKind::MutedByAnother => MUTED_BY_ANOTHER,
        ChangeKind::Same => SAME,
    };
    heading | of(live) | (of(draft) << TO_DRAFT)
}

fn comparison(counter: &Counter, shift: u32) -> DraftComparison {
    let under = |heading: Headings| counter.under(heading << shift);
    let dispositions = |to: u32| DispositionCounts {
        muted: under(MUTED << to),
        exempted: under(EXEMPTED << to),
        left_alone: under(LEFT_ALONE << to),
    };
    DraftComparison {
        live: dispositions(0),
        draft: dispositions(TO_DRAFT),
        changes: ChangeCounts {
            newly_muted: under(NEWLY_MUTED),
            no_longer_muted: under(NO_LONGER_MUTED),
            muted_by_another: under(MUTED_BY_ANOTHER),
            same: under(SAME),
        },
        not_compared: under(NOT_COMPARED),
    }
}
