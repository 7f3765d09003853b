//! Plans: which live tracks a draft of policies would silence, which it would no longer forbid, and which stay, room
//! by room, before anything is written.
//!
//! ```text
//! stored policies + draft -> crate::draft: before, after
//! sweep::Reader: rooms -> participants -> facts -> decided by both -> Plan
//! ```
//!
//! It reads as a sweep does, at the same rate, and acts on nothing. Of a tenant's plan, other tenants' rooms are left
//! out before anybody in them is asked for.

mod report;
mod room;
mod text;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::access::Viewer;
use crate::draft::{ComparedSets, Draft, DraftError, DraftPolicy, Stored, stored};
use crate::livekit::{LiveKitError, Urgency};
use crate::postgres::{Pool, failed_query};
use crate::sweep::{ListedRoom, Reader};
use crate::threads::spawn_blocking_holding;
use quell_policy::{PolicySet, TenantId};
use report::Naming;
pub use report::{Plan, PlanCounts, PlannedRoom, PlannedTrack};
use room::read;

/// Rooms that are read at the same time.
const ROOMS_AT_ONCE: usize = 16;
/// Tracks that one plan names.
pub const TRACKS_NAMED_MAX: usize = 1_000;

/// What a plan is asked for.
#[derive(Debug)]
pub struct PlanRequest {
    /// The policies to try; none: what those in force would do now.
    pub draft: Option<Draft>,
    /// Only this tenant's rooms; none is all rooms.
    pub tenant: Option<TenantId>,
    /// Only the room of this name.
    pub room: Option<String>,
    /// Only rooms whose names come after this one.
    pub after: Option<String>,
    /// Who reads the plan.
    pub viewer: Viewer,
    /// How long rooms may be read for; what is left then is for the next plan.
    pub time_max: Duration,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The draft cannot be compared.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// LiveKit failed.
    #[error("live rooms cannot be read: {0}")]
    LiveKit(#[from] LiveKitError),
    /// The database failed.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
    /// A thread panicked: a bug of ours.
    #[error("the plan ended by itself: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// The policies before and after the draft.
struct Compared {
    before: Arc<PolicySet>,
    after: Arc<PolicySet>,
    changes: Vec<DraftPolicy>,
    /// The newest change of policies that is in both.
    snapshot: i64,
}

/// Makes a plan for `now`. `hold` is dropped only when every thread has ended.
pub(crate) async fn make(
    hold: impl Clone + Send + 'static,
    pool: &Pool,
    reader: &Reader,
    request: PlanRequest,
    now: DateTime<Utc>,
) -> Result<Plan, PlanError> {
    let begun = Instant::now();
    let PlanRequest {
        draft,
        tenant,
        room,
        after,
        viewer,
        time_max,
    } = request;
    let stored = stored(&hold, pool, tenant.as_ref()).await?;
    let warnings = stored.warnings(&viewer);
    let compared = compared(&hold, stored, draft, tenant.as_ref()).await?;
    let wants = |listed: &ListedRoom| {
        let (name, of) = (listed.name.as_str(), listed.tenant.as_ref());
        tenant.as_ref().is_none_or(|tenant| of == Some(tenant))
            && after.as_deref().is_none_or(|after| name > after)
            && (compared.before.may_mute_in(name, of, now)
                || compared.after.may_mute_in(name, of, now))
    };
    let mut listed = reader
        .list(Urgency::Routine, room.as_deref(), wants)
        .await?;
    listed.rooms.sort_by(|one, other| one.name.cmp(&other.name));
    let is_operator = viewer == Viewer::Operator;
    // Names of rooms that cannot be read are others' as well.
    let skipped = if is_operator {
        listed.oversized.len()
    } else {
        0
    };
    let mut naming = Naming::new(TRACKS_NAMED_MAX, is_operator);
    naming.counts.skipped += skipped;
    let last = listed.rooms.last().map(|room| room.name.clone());
    let context = room::Context {
        pool,
        reader,
        before: &compared.before,
        after: &compared.after,
        now,
    };
    let mut reading = stream::iter(listed.rooms)
        .map(|room| {
            let context = &context;
            async move {
                if begun.elapsed() >= time_max {
                    return (room.name, None);
                }
                let read = read(context, &room).await;
                (room.name, Some(read))
            }
        })
        .buffered(ROOMS_AT_ONCE);
    let mut done = None;
    while let Some((name, read)) = reading.next().await {
        let Some(read) = read else {
            // What comes after it is not read either.
            naming.stop(done.as_deref().or(after.as_deref()));
            break;
        };
        naming.add(&name, read);
        done = Some(name);
    }
    let is_whole = done == last;
    Ok(Plan {
        at: now,
        snapshot: is_operator.then_some(compared.snapshot),
        policies: compared.changes,
        counts: naming.counts,
        is_whole,
        next: naming.next,
        rooms: naming.rooms,
        warnings,
    })
}

async fn compared(
    hold: &(impl Clone + Send + 'static),
    stored: Stored,
    draft: Option<Draft>,
    tenant: Option<&TenantId>,
) -> Result<Compared, PlanError> {
    let Stored {
        snapshot, policies, ..
    } = stored;
    let about = tenant.cloned();
    // Thousands of policies take a while to compile: not on a thread that webhooks need.
    let compiling = spawn_blocking_holding(hold, move || match draft {
        Some(draft) => draft.over(policies, about.as_ref()),
        None => ComparedSets::of_stored(policies),
    });
    let sets = compiling.await??;
    Ok(Compared {
        before: Arc::new(sets.live.set),
        after: Arc::new(sets.draft.set),
        changes: sets.changes,
        snapshot,
    })
}
