//! What a backtest answers: the same for people (`Display`) and for programs (JSON).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::by_policy::PolicyRow;
use super::count::Counted;
use super::draft::{Changed, Sides};
use super::events::Cursor;
use super::sample::Sample;
use super::since::Range;
use super::tally::{Apart, Comparison, Totals};
use crate::access::Viewer;
use quell_policy::TenantId;

/// So many policies are listed; further ones are only counted.
const POLICIES_MAX: usize = 200;

/// What came of a backtest. Fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Over which time.
    #[serde(flatten)]
    pub range: Range,
    /// The tenant whose rooms it is about; none is all rooms.
    pub owner: Option<TenantId>,
    /// What is tried.
    pub draft: DraftReport,
    /// What was published.
    pub published: Counted,
    /// When the first and the last of it was.
    pub between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// What is done.
    pub enforced: Comparison,
    /// What would be done if the dry-run policies (`mode: dry_run`) were enforced as well.
    pub dry_run: Comparison,
    /// Whether any policy is in dry run, live or in the draft: else the two are the same. Of others'
    /// policies a tenant is told only where they are about a track of its rooms, or may be.
    pub any_dry_run: bool,
    /// How the tracks' jobs ended then, by settlement; `open` is not yet.
    pub recorded: BTreeMap<String, u64>,
    /// What could not be compared.
    pub apart: Apart,
    /// What each policy does; the largest difference first.
    pub policies: Vec<PolicyRow>,
    /// How many more policies there are than are listed.
    pub policies_left_off: usize,
    /// Examples, spread over the time.
    pub samples: Vec<Sample>,
    /// Rooms and participants are at least so many: there were more than are told apart.
    pub at_least: bool,
    /// Where it stopped before the end.
    pub truncated: Option<Truncated>,
    /// What is to be known of these numbers.
    pub notes: Vec<String>,
    /// What is doubtful about the draft's policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DraftReport {
    /// Only the draft's policies are in it, and nothing that is stored.
    pub alone: bool,
    /// The policies that it names.
    pub policies: Vec<Changed>,
    /// How many more it names than are listed.
    pub policies_left_off: usize,
    /// How many stored ones it does not name.
    pub others: usize,
}

/// Where it stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truncated {
    /// Events up to about this time are in it.
    pub at: DateTime<Utc>,
    /// Why.
    pub by: TruncatedBy,
    /// From where to go on, so that no track is left out or counted twice.
    pub next: Cursor,
}

/// What was enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncatedBy {
    /// So many tracks.
    Tracks,
    /// So much time.
    Time,
}

/// What was asked, as far as the report repeats it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) range: Range,
    pub(super) tenant: Option<TenantId>,
    pub(super) viewer: Viewer,
    pub(super) alone: bool,
    pub(super) oldest: Option<DateTime<Utc>>,
    pub(super) truncated: Option<Truncated>,
}

impl Report {
    pub(super) fn new(asked: Asked, sides: &Sides, totals: Totals) -> Self {
        let notes = notes(&asked, &totals);
        let mut policies = totals.by_policy.finish();
        let policies_left_off = left_off(&mut policies);
        let mut changes = sides.changes.clone();
        let changes_left_off = left_off(&mut changes);
        // How many policies others have is not for a tenant to know.
        let any_dry_run = totals.dry_run_seen || sides.any_dry_run(&asked.viewer);
        let others = sides.others.iter();
        Self {
            range: asked.range,
            draft: DraftReport {
                alone: asked.alone,
                policies: changes,
                policies_left_off: changes_left_off,
                others: others
                    .filter(|key| asked.viewer.may_read(&key.owner))
                    .count(),
            },
            owner: asked.tenant,
            published: totals.published,
            between: totals.between,
            enforced: totals.enforced,
            dry_run: totals.dry_run,
            any_dry_run,
            recorded: totals.recorded,
            apart: totals.apart,
            policies,
            policies_left_off,
            samples: totals.samples,
            at_least: totals.is_capped,
            truncated: asked.truncated,
            notes,
            warnings: Vec::new(),
        }
    }

    /// Why it is about nothing.
    pub(super) fn nothing(&self, oldest: Option<DateTime<Utc>>) -> String {
        let Range { since, until } = self.range;
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

fn notes(asked: &Asked, totals: &Totals) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(oldest) = asked.oldest
        && oldest > asked.range.since
    {
        notes.push(format!(
            "stored events go back to {} only; what is older than QUELL_EVENT_RETENTION is dropped",
            rfc3339(oldest)
        ));
    }
    if let Some(Truncated { at, by, .. }) = &asked.truncated {
        let enough = match by {
            TruncatedBy::Tracks => "as many tracks as one request may take",
            TruncatedBy::Time => "as much time as one request may take",
        };
        notes.push(format!(
            "stopped at {}: {enough}; go on by asking the same with `after`, as `truncated.next` says, or use `quell policy backtest`",
            rfc3339(*at)
        ));
    }
    if asked.tenant.is_some() {
        notes.push(
            "rooms are counted whose tenant was recorded; it is while any tenant has a live policy, or one asks for more than the event"
                .to_owned(),
        );
    }
    if totals.is_capped {
        notes.push("there were more rooms or participants than are told apart: those numbers are lower bounds".to_owned());
    }
    if totals
        .apart
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

/// As `since` takes it.
fn rfc3339(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%Y-%m-%dT%H:%M:%SZ")
}
