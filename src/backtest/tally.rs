//! Adds up what live policies and a draft make of the same tracks; pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::by_policy::ByPolicy;
use super::count::{Counted, Counter, Headings};
use super::events::Published;
use super::missing::{MissingFacts, MissingTally};
use super::replay::{Decided, Replayed};
use super::sample::{Sample, SampleOf};
use super::spread::Spread;
use crate::access::Viewer;
use quell_policy::{Decision, Exempted, Mode, PolicyRef, Tri, Verdict};

/// Which policies act in earnest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

/// What the draft changes for one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// Not muted by what is live, muted by the draft.
    NewlyMuted,
    /// Muted by what is live, not by the draft.
    NoLongerMuted,
    /// Muted by both, but in the name of another policy.
    MutedByAnother,
    /// Nothing.
    Same,
    /// One of the two hangs on a fact that was not recorded.
    NotCompared,
}

/// What policies do to one track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ruling<'d> {
    Muted(&'d PolicyRef),
    Exempted(&'d Exempted),
    Left,
}

impl<'d> Ruling<'d> {
    pub(super) fn of(verdict: &'d Verdict) -> Option<Self> {
        match verdict {
            Verdict::Mute { policy } => Some(Self::Muted(policy)),
            Verdict::Nothing { exempted } => {
                Some(exempted.as_deref().map_or(Self::Left, Self::Exempted))
            }
            Verdict::Indeterminate => None,
        }
    }
}

impl Shift {
    fn of(live: Option<Ruling<'_>>, draft: Option<Ruling<'_>>) -> Self {
        use Ruling::{Exempted, Left, Muted};
        match (live, draft) {
            (None, _) | (_, None) => Self::NotCompared,
            (Some(Muted(one)), Some(Muted(other))) => {
                // Another revision of the same policy is the same policy.
                let is_same = one.owner == other.owner && one.name == other.name;
                if is_same {
                    Self::Same
                } else {
                    Self::MutedByAnother
                }
            }
            (Some(Exempted(_) | Left), Some(Muted(_))) => Self::NewlyMuted,
            (Some(Muted(_)), Some(Exempted(_) | Left)) => Self::NoLongerMuted,
            (Some(Exempted(_) | Left), Some(Exempted(_) | Left)) => Self::Same,
        }
    }
}

const PUBLISHED: Headings = 1;
const APART: Headings = 1 << 1;
// The headings of one view; the other's are shifted.
const MUTED: Headings = 1 << 2;
const EXEMPTED: Headings = 1 << 3;
const LEFT: Headings = 1 << 4;
/// From a heading of what is live to that of the draft.
const TO_DRAFT: u32 = 3;
const NEWLY_MUTED: Headings = 1 << 8;
const NO_LONGER_MUTED: Headings = 1 << 9;
const MUTED_BY_ANOTHER: Headings = 1 << 10;
const SAME: Headings = 1 << 11;
const NOT_COMPARED: Headings = 1 << 12;
const TO_DRY_RUN: u32 = 11;
const NOTHING_KNOWN: Headings = APART | NOT_COMPARED | (NOT_COMPARED << TO_DRY_RUN);

/// What one set of policies does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rulings {
    /// Muted.
    pub muted: Counted,
    /// Left alone for an exemption that cancels a mute.
    pub exempted: Counted,
    /// Left alone because no mute is about them.
    pub left_alone: Counted,
}

/// What the draft changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Shifts {
    /// Not muted by what is live, muted by the draft.
    pub newly_muted: Counted,
    /// Muted by what is live, not by the draft.
    pub no_longer_muted: Counted,
    /// Muted by both, but in the name of another policy.
    pub muted_by_another: Counted,
    /// Neither.
    pub same: Counted,
}

/// Live and draft beside each other, over the tracks that both can decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What is live.
    pub live: Rulings,
    /// The draft.
    pub draft: Rulings,
    /// The difference, track by track.
    pub changes: Shifts,
    /// Those that one of the two cannot decide, and those of which nothing is known.
    pub not_compared: Counted,
}

/// Tracks that are in no comparison, or not in both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Apart {
    /// All of them.
    pub tracks: u64,
    /// Their jobs are not over: nothing is recorded yet.
    pub not_settled: u64,
    /// Their jobs were given up before anything was recorded.
    pub without_facts: u64,
    /// What was recorded is not what this version reads.
    pub unreadable: u64,
    /// A fact that a decision hangs on was not recorded.
    pub missing: Vec<MissingFacts>,
    /// More of those.
    pub missing_left_off: u64,
}

/// Everything that was counted.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) published: Counted,
    pub(super) between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    pub(super) enforced: Comparison,
    pub(super) dry_run: Comparison,
    pub(super) recorded: BTreeMap<String, u64>,
    pub(super) apart: Apart,
    pub(super) by_policy: ByPolicy,
    pub(super) samples: Vec<Sample>,
    pub(super) is_capped: bool,
    /// A dry-run policy applied to one of the tracks, or may have.
    pub(super) dry_run_seen: bool,
}

/// Counts, track by track.
#[derive(Debug)]
pub(super) struct Tally {
    /// Who reads the report.
    viewer: Viewer,
    dry_run_seen: bool,
    counter: Counter,
    between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    recorded: BTreeMap<String, u64>,
    apart: Apart,
    missing: MissingTally,
    by_policy: ByPolicy,
    samples_max: usize,
    samples: BTreeMap<(View, Shift), Spread<Sample>>,
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
            apart: Apart::default(),
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
                self.apart.not_settled += 1;
                NOTHING_KNOWN
            }
            Replayed::NoFacts => {
                self.apart.without_facts += 1;
                NOTHING_KNOWN
            }
            Replayed::Unreadable => {
                self.apart.unreadable += 1;
                NOTHING_KNOWN
            }
            Replayed::Decided(decided) => self.decided(event, decided),
        };
        let room = event.room_sid.as_deref().unwrap_or_default();
        let identity = event.identity.as_deref().unwrap_or_default();
        self.counter.add(room, identity, headings | PUBLISHED);
    }

    fn decided(&mut self, event: &Published, decided: &Decided) -> Headings {
        self.dry_run_seen |= dry_run(&decided.live) || dry_run(&decided.draft);
        let [enforced, dry_run] = View::ALL.map(|view| {
            let live = Ruling::of(view.of(&decided.live));
            let draft = Ruling::of(view.of(&decided.draft));
            let shift = Shift::of(live, draft);
            if shift != Shift::NotCompared {
                self.by_policy.add(view, live, draft);
            }
            (headings(live, draft, shift), shift)
        });
        let mut headings = enforced.0 | (dry_run.0 << TO_DRY_RUN);
        let is_apart = [enforced.1, dry_run.1].contains(&Shift::NotCompared);
        if is_apart {
            headings |= APART;
            self.missing.add(decided.missing, decided.by_event_alone);
        }
        // What trial changes in the same way as what is enforced is shown once.
        let shown = [
            (View::Enforced, enforced.1, true),
            (View::DryRun, dry_run.1, dry_run.1 != enforced.1),
        ];
        for (view, shift, is_shown) in shown {
            if is_shown && shift != Shift::Same {
                let of = SampleOf {
                    viewer: &self.viewer,
                };
                self.samples
                    .entry((view, shift))
                    .or_insert_with(|| Spread::new(self.samples_max))
                    .offer(|| Sample::new(view, shift, event, decided, of));
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
            apart: Apart {
                tracks: self.counter.under(APART).tracks,
                missing,
                missing_left_off,
                ..self.apart
            },
            by_policy: self.by_policy,
            samples: self
                .samples
                .into_values()
                .flat_map(Spread::finish)
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

fn headings(live: Option<Ruling<'_>>, draft: Option<Ruling<'_>>, shift: Shift) -> Headings {
    let of = |ruling| match ruling {
        Ruling::Muted(_) => MUTED,
        Ruling::Exempted(_) => EXEMPTED,
        Ruling::Left => LEFT,
    };
    let change = match shift {
        Shift::NewlyMuted => NEWLY_MUTED,
        Shift::NoLongerMuted => NO_LONGER_MUTED,
        Shift::MutedByAnother => MUTED_BY_ANOTHER,
        Shift::Same => SAME,
        Shift::NotCompared => NOT_COMPARED,
    };
    match (live, draft) {
        (Some(live), Some(draft)) => change | of(live) | (of(draft) << TO_DRAFT),
        _ => change,
    }
}

fn comparison(counter: &Counter, shift: u32) -> Comparison {
    let under = |heading: Headings| counter.under(heading << shift);
    let rulings = |to: u32| Rulings {
        muted: under(MUTED << to),
        exempted: under(EXEMPTED << to),
        left_alone: under(LEFT << to),
    };
    Comparison {
        live: rulings(0),
        draft: rulings(TO_DRAFT),
        changes: Shifts {
            newly_muted: under(NEWLY_MUTED),
            no_longer_muted: under(NO_LONGER_MUTED),
            muted_by_another: under(MUTED_BY_ANOTHER),
            same: under(SAME),
        },
        not_compared: under(NOT_COMPARED),
    }
}
