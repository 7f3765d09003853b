//! The report of a backtest, as text (`Display`) and as JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::by_policy::PolicyRow;
use super::count::Counted;
use super::events::Cursor;
use super::sample::Sample;
use super::swept::Swept;
use super::tally::{DraftComparison, Excluded, Totals};
use super::time_range::TimeRange;
use crate::access::Viewer;
use crate::draft::{ComparedSets, DraftPolicy};
use quell_policy::TenantId;

/// At most this many policies are listed; more are only counted.
const POLICIES_MAX: usize = 200;

/// The result of a backtest. Fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The time of the events.
    #[serde(flatten)]
    pub range: TimeRange,
    /// The tenant whose rooms are replayed; none is all rooms.
    pub owner: Option<TenantId>,
    /// What the draft holds.
    pub draft: DraftReport,
    /// The tracks that were published.
    pub published: Counted,
    /// The times of the first and the last of them.
    pub between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// What is done.
    pub enforced: DraftComparison,
    /// What would be done if the dry-run policies (`mode: dry_run`) were enforced as well.
    pub dry_run: DraftComparison,
    /// Whether any policy is in dry run, live or in the draft: without one, `enforced` and `dry_run`
    /// are the same. For a tenant, others' policies count only where they apply to one of its tracks,
    /// or may.
    pub any_dry_run: bool,
    /// How many tracks' jobs ended with each settlement then; `open` has not ended.
    pub recorded: BTreeMap<String, u64>,
    /// The tracks that could not be compared.
    pub excluded: Excluded,
    /// How many tracks each policy mutes and exempts; the largest difference first.
    pub policies: Vec<PolicyRow>,
    /// How many more policies there are.
    pub policies_left_off: usize,
    /// Example tracks, spread over the time.
    pub samples: Vec<Sample>,
    /// Whether numbers of rooms and participants are lower bounds: there were more than are counted.
    pub at_least: bool,
    /// Tracks that sweeps acted on or could not decide, which are not among those above; none where the report goes
    /// on from an earlier one.
    pub swept: Option<Swept>,
    /// Where it stopped, if before the end.
    pub truncated: Option<Truncated>,
    /// What a reader of the numbers must know.
    pub notes: Vec<String>,
    /// What may be a mistake in the draft, and policies that cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What the draft holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DraftReport {
    /// Whether the draft's policies are tried alone, without the other stored ones.
    pub alone: bool,
    /// The policies that it holds or leaves out; changed ones first.
    pub policies: Vec<DraftPolicy>,
    /// How many more there are.
    pub policies_left_off: usize,
    /// How many other policies are stored; of those, only what the viewer may read.
    pub others: usize,
}

/// Where a backtest stopped before the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Truncated {
    /// Events up to about this time are in the report.
    pub at: DateTime<Utc>,
    /// Which limit stopped it.
    pub by: TruncatedBy,
    /// The cursor to continue from: no track is left out or counted twice.
    #[schemars(with = "String")]
    pub next: Cursor,
}

/// The limit that stopped a backtest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TruncatedBy {
    /// The number of tracks.
    Tracks,
    /// The time.
    Time,
}

/// What was asked for, as far as the report repeats it.
#[derive(Debug)]
pub(super) struct ReportScope {
    pub(super) range: TimeRange,
    pub(super) tenant: Option<TenantId>,
    pub(super) viewer: Viewer,
    pub(super) alone: bool,
    pub(super) oldest: Option<DateTime<Utc>>,
    pub(super) swept: Option<Swept>,
    pub(super) truncated: Option<Truncated>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    pub(super) fn new(scope: ReportScope, sets: &ComparedSets, totals: Totals) -> Self {
        let notes = notes(&scope, &totals);
        let mut policies = totals.by_policy.finish();
        let policies_left_off = left_off(&mut policies);
        let mut changes = sets.changes.clone();
        let changes_left_off = left_off(&mut changes);
        let any_dry_run = totals.dry_run_seen || sets.any_dry_run(&scope.viewer);
        // A tenant may not know how many policies others have.
        let others = sets.others.iter();
        Self {
            range: scope.range,
            draft: DraftReport {
                alone: scope.alone,
                policies: changes,
                policies_left_off: changes_left_off,
                others: others
                    .filter(|key| scope.viewer.may_read(&key.owner))
                    .count(),
            },
            owner: scope.tenant,
            published: totals.published,
            between: totals.between,
            enforced: totals.enforced,
            dry_run: totals.dry_run,
            any_dry_run,
            recorded: totals.recorded,
            excluded: totals.excluded,
            policies,
            policies_left_off,
            samples: totals.samples,
            at_least: totals.is_capped,
            swept: scope.swept,
            truncated: scope.truncated,
            notes,
            warnings: scope.warnings,
        }
    }

    /// Why there are no tracks.
    pub(super) fn nothing(&self, oldest: Option<DateTime<Utc>>) -> String {
        let TimeRange { since, until } = self.range;
        let why = match (&self.owner, oldest) {
            (Some(tenant), None) => format!(
                " in rooms of which {tenant} was recorded as the tenant, as it is while any tenant has a live policy"
            ),
            (Some(tenant), Some(oldest)) => format!(
                " in {tenant}'s rooms; the oldest event of all is of {}",
                rfc3339(oldest)
            ),
            (None, Some(oldest)) => format!("; the oldest event is of {}", rfc3339(oldest)),
            (None, None) => ": no event is stored yet".to_owned(),
        };
        format!(
            "there are no published tracks between {} and {}{why}",
            rfc3339(since),
            rfc3339(until)
        )
    }
}

fn left_off<T>(items: &mut Vec<T>) -> usize {
    let left_off = items.len().saturating_sub(POLICIES_MAX);
    items.truncate(POLICIES_MAX);
    left_off
}

fn notes(scope: &ReportScope, totals: &Totals) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(oldest) = scope.oldest
        && oldest > scope.range.since
    {
        notes.push(format!(
            "stored events go back to {} only; what is older than QUELL_EVENT_RETENTION is dropped",
            rfc3339(oldest)
        ));
    }
    if let Some(Truncated { at, by, .. }) = &scope.truncated {
        let enough = match by {
            TruncatedBy::Tracks => "as many tracks as one request may take",
            TruncatedBy::Time => "as much time as one request may take",
        };
        notes.push(format!(
            "stopped at {}: {enough}; go on by asking the same with `after`, as `truncated.next` says, or use `quell policy backtest`",
            rfc3339(*at)
        ));
    }
    if scope.tenant.is_some() {
        notes.push(
            "rooms are counted whose tenant was recorded; it is while any tenant has a live policy, or one asks for more than the event"
                .to_owned(),
        );
    }
    if totals.is_capped {
        notes.push("there were more rooms or participants than are counted: those numbers are lower bounds".to_owned());
    }
    if totals
        .excluded
        .missing
        .iter()
        .any(|group| group.by_event_alone)
    {
        notes.push(
            "some tracks were decided by the event alone, without asking LiveKit for more; to have what the draft asks for recorded from now on, apply it with `mode: dry_run`, which mutes nothing, and try again some days later"
                .to_owned(),
        );
    }
    notes
}

/// In the form that `since` reads.
fn rfc3339(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%Y-%m-%dT%H:%M:%SZ")
}
