//! Counts what sweeps acted on or could not decide, apart from what webhooks told of.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::BacktestError;
use super::pace::Bounds;
use super::time_range::TimeRange;
use crate::draft::ComparedSets;
use crate::postgres::Pool;
use crate::threads::spawn_blocking_holding;
use quell_policy::{Decision, Facts, TenantId, decide};

/// Sweeps write little: what is more than this is counted as more.
const DECISIONS_MAX: i64 = 20_000;
const PAGE: i64 = 1_000;

/// Tracks as sweeps saw them, decided by both sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Swept {
    /// How many times a sweep acted on a track, or could not decide.
    pub tracks: u64,
    /// Of these, muted by the live policies.
    pub live: u64,
    /// Muted by the draft.
    pub draft: u64,
    /// Muted by the draft and not by the live policies.
    pub newly_muted: u64,
    /// Muted by the live policies and not by the draft.
    pub no_longer_muted: u64,
    /// Not compared: what was recorded cannot be read, or does not decide.
    pub excluded: u64,
    /// Whether there are more.
    pub at_least: bool,
}

/// Counts the decisions of sweeps in `range`; with a tenant, in its rooms.
pub(super) async fn count(
    hold: &(impl Clone + Send + 'static),
    pool: &Pool,
    range: TimeRange,
    tenant: Option<&TenantId>,
    sets: &Arc<ComparedSets>,
    bounds: &Bounds,
) -> Result<Swept, BacktestError> {
    let mut swept = Swept::default();
    let (mut at, mut id) = (range.since, String::new());
    let mut left = DECISIONS_MAX;
    while left > 0 && !bounds.is_late() {
        let rows = sqlx::query!(
            r#"select distinct on (decided_at, id) decided_at, id, facts::text as "facts!",
                      decision::text as "decision!"
               from sweep_decision
               where (decided_at, id) > ($1, $2) and decided_at < $3 and ($4::text is null or tenant = $4)
               order by decided_at, id
               limit $5"#,
            at,
            id,
            range.until,
            tenant.map(TenantId::as_str),
            PAGE,
        )
        .fetch_all(pool)
        .await?;
        let Some(last) = rows.last() else {
            return Ok(swept);
        };
        (at, id) = (last.decided_at, last.id.clone());
        left -= PAGE;
        let sets = Arc::clone(sets);
        let deciding = spawn_blocking_holding(hold, move || {
            for row in rows {
                swept.add(&row.facts, &row.decision, &sets);
            }
            swept
        });
        swept = deciding.await?;
    }
    swept.at_least = true;
    Ok(swept)
}

impl Swept {
    fn add(&mut self, facts: &str, decision: &str, sets: &ComparedSets) {
        self.tracks += 1;
        let facts: Result<Facts, _> = serde_json::from_str(facts);
        let decision: Result<Decision, _> = serde_json::from_str(decision);
        let (Ok(facts), Ok(decision)) = (facts, decision) else {
            self.excluded += 1;
            return;
        };
        let live = decide(&sets.live.set, &facts, decision.at).enforced;
        let draft = decide(&sets.draft.set, &facts, decision.at).enforced;
        if live.is_indeterminate() || draft.is_indeterminate() {
            self.excluded += 1;
            return;
        }
        let (live, draft) = (live.mute().is_some(), draft.mute().is_some());
        self.live += u64::from(live);
        self.draft += u64::from(draft);
        self.newly_muted += u64::from(draft && !live);
        self.no_longer_muted += u64::from(live && !draft);
    }
}
