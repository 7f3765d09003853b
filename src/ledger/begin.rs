//! Begins actions: takes the leases of their tracks and writes their intents, in one statement; of each action
//! both or neither.
//!
//! One action at a time runs on a source of a participant (room SID, identity, source). The lease has an
//! end, and no lock is held while `LiveKit` is asked.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::time::Duration;

use chrono::{DateTime, Utc};
use quell_policy::TenantId;
use sqlx::postgres::types::PgInterval;
use tokio::time::Instant;
use uuid::Uuid;

use super::locks::{Guard, TrackKey};
use super::{ActionKey, JobLease, SETTLE_MARGIN};
use crate::access::{Authority, Permit, Verb};
use crate::audit::{Entry, stored};
use crate::metrics::{Batch, Metrics};
use crate::postgres::{BatchWrite, Connection, PostgresClock, interval, to_pg_text};

/// A permitted action that is not written down yet.
#[derive(Debug)]
pub struct Proposal {
    /// What is permitted.
    pub permit: Permit,
    /// What its rows say.
    pub entry: Entry,
    /// When LiveKit was asked for what the entry has as `before`: where an action on the track ended
    /// since, `before` is what came of that.
    pub fetched_at: Instant,
    /// The job that it is for: the action is begun only while the job is ours.
    pub job: Option<JobLease>,
    /// The same action, which failed before: that has its rows, and only another outcome is written.
    pub repeats: Option<ActionKey>,
}

impl Proposal {
    pub(super) fn key(&self) -> TrackKey {
        TrackKey {
            room_sid: to_pg_text(self.permit.room_sid()),
            identity: to_pg_text(self.permit.identity()),
            source: to_pg_text(self.permit.source()),
        }
    }
}

/// What came of trying to begin.
#[derive(Debug)]
pub enum Begun {
    /// The action may go on.
    Intent(Intent),
    /// Another action is under way there: the proposal again, for another try.
    Busy(Proposal),
    /// A person decided there meanwhile: the proposal again, for its row.
    Superseded(Proposal),
    /// The job is another replica's by now, or is over.
    Lost(Proposal),
    /// It is a policy's mute, and another has made the same since LiveKit was asked for the track.
    Muted(Proposal),
}

/// An intent that is committed, and the lease that was taken with it: what LiveKit's client acts on.
///
/// Only [`super::Ledger::begin`] makes one.
#[derive(Debug)]
pub struct Intent {
    permit: Permit,
    unfinished: Unfinished,
}

/// An action whose intent is written and whose outcome is not: what [`super::Ledger::end`] takes.
#[derive(Debug)]
pub struct Unfinished {
    pub(super) action_id: Uuid,
    pub(super) started_at: DateTime<Utc>,
    pub(super) key: TrackKey,
    /// The job that it was for.
    pub(super) job: Option<JobLease>,
    /// The same action, which failed before.
    pub(super) repeats: Option<Repeats>,
    /// Until the outcome is written, nobody else in this process acts there.
    pub(super) _guard: Guard,
}

/// An action that failed before, and what this try of it answers to.
#[derive(Debug)]
pub(super) struct Repeats {
    pub(super) action: ActionKey,
    pub(super) event_id: Option<String>,
}

impl Unfinished {
    /// The intent that stands in the audit log: of an action that failed before, that one.
    pub(crate) fn intent(&self) -> ActionKey {
        let repeats = self.repeats.as_ref();
        repeats.map_or_else(|| self.action(), |repeats| repeats.action)
    }

    /// The action's key in the audit log.
    pub(crate) fn action(&self) -> ActionKey {
        ActionKey {
            action_id: self.action_id,
            started_at: self.started_at,
        }
    }
}

impl Intent {
    pub(super) fn new(proposal: Proposal, started_at: DateTime<Utc>, guard: Guard) -> Self {
        let key = proposal.key();
        Self {
            unfinished: Unfinished {
                action_id: proposal.entry.action_id,
                started_at,
                key,
                job: proposal.job,
                repeats: proposal.repeats.map(|action| Repeats {
                    action,
                    event_id: stored(proposal.entry.event_id.as_ref()),
                }),
                _guard: guard,
            },
            permit: proposal.permit,
        }
    }

    /// What may be done, once, and what is to be finished after it.
    pub(crate) fn into_parts(self) -> (Permit, Unfinished) {
        (self.permit, self.unfinished)
    }
}

/// An action that is to be begun.
#[derive(Debug)]
pub(super) struct BeginRequest {
    pub(super) proposal: Proposal,
    /// Until when LiveKit may be waited for.
    pub(super) deadline: Instant,
}

/// What became of a proposal.
#[derive(Debug)]
pub(super) enum Written {
    /// When it was begun, by Postgres's clock.
    Intent(DateTime<Utc>),
    Busy,
    Superseded,
    Lost,
    Muted,
}

/// Writes intents.
#[derive(Debug)]
pub(super) struct BeginWriter {
    pub(super) replica: String,
    pub(super) clock: PostgresClock,
    pub(super) metrics: Metrics,
}

impl BatchWrite for BeginWriter {
    type Item = BeginRequest;
    type Answer = Written;
    const NAME: &'static str = "intents";
    const MAX: usize = 64;
    const PACE: Duration = Duration::ZERO;

    async fn write(
        &self,
        connection: &mut Connection,
        items: &[BeginRequest],
    ) -> Result<Vec<Written>, sqlx::Error> {
        let begun = self.begin(connection, items).await?;
        let losers: Vec<_> = items
            .iter()
            .filter(|request| !begun.contains_key(&request.proposal.entry.action_id))
            .collect();
        let mut others = if losers.is_empty() {
            HashMap::new()
        } else {
            why_not(connection, &losers).await?
        };
        let written = items.iter().map(|request| {
            let id = request.proposal.entry.action_id;
            match begun.get(&id) {
                Some(started_at) => Written::Intent(*started_at),
                None => others.remove(&id).unwrap_or(Written::Busy),
            }
        });
        Ok(written.collect())
    }

    /// Where an answer was lost, the intents may be committed: the second time tells. Else the caller says that it
    /// was not done, and nothing is lost by that.
    fn retry_after(&self, error: &sqlx::Error, tries: usize) -> Option<Duration> {
        let is_lost = matches!(error, sqlx::Error::Io(io) if io.kind() != ErrorKind::TimedOut);
        (is_lost && tries == 0).then_some(Duration::ZERO)
    }

    fn wrote(&self, count: usize) {
        self.metrics.batch(Batch::Intents, count);
    }
}

/// Which actions they are, and on what, as a statement takes them.
struct Columns {
    action_ids: Vec<Uuid>,
    room_sids: Vec<String>,
    identities: Vec<String>,
    sources: Vec<String>,
    track_sids: Vec<String>,
    as_ofs: Vec<Option<DateTime<Utc>>>,
    job_times: Vec<Option<DateTime<Utc>>>,
    job_ids: Vec<Option<String>>,
    attempts: Vec<Option<i32>>,
    actions: Vec<&'static str>,
    /// How long ago LiveKit was asked for the track.
    fetched: Vec<PgInterval>,
    befores: Vec<Option<String>>,
}

impl Columns {
    fn of(proposals: &[&Proposal]) -> Self {
        let keys = || proposals.iter().map(|proposal| proposal.key());
        let jobs = || proposals.iter().map(|proposal| proposal.job.as_ref());
        let permits = || proposals.iter().map(|proposal| &proposal.permit);
        let entries = proposals.iter().map(|proposal| &proposal.entry);
        Self {
            action_ids: entries.map(|entry| entry.action_id).collect(),
            room_sids: keys().map(|key| key.room_sid).collect(),
            identities: keys().map(|key| key.identity).collect(),
            sources: keys().map(|key| key.source).collect(),
            track_sids: permits()
                .map(|permit| to_pg_text(permit.track_sid()))
                .collect(),
            as_ofs: permits().map(|permit| permit.authority().as_of()).collect(),
            job_times: jobs().map(|job| Some(job?.created_at)).collect(),
            job_ids: jobs().map(|job| Some(job?.event_id.clone())).collect(),
            attempts: jobs().map(|job| Some(job?.attempt)).collect(),
            actions: proposals
                .iter()
                .map(|proposal| proposal.entry.action.as_str())
                .collect(),
            befores: proposals
                .iter()
                .map(|proposal| Some(proposal.entry.before.as_ref()?.to_string()))
                .collect(),
            fetched: proposals
                .iter()
                .map(|proposal| interval(proposal.fetched_at.elapsed()))
                .collect(),
        }
    }
}

impl BeginWriter {
    /// The actions that are begun, and when. At most one of a source is in a batch: its lock is held.
    async fn begin(
        &self,
        connection: &mut Connection,
        items: &[BeginRequest],
    ) -> Result<HashMap<Uuid, DateTime<Utc>>, sqlx::Error> {
        let proposals = || items.iter().map(|request| &request.proposal);
        let entries = || items.iter().map(|request| &request.proposal.entry);
        let columns = Columns::of(&proposals().collect::<Vec<_>>());
        let holds: Vec<_> = items
            .iter()
            .map(|request| {
                let left = request.deadline.saturating_duration_since(Instant::now());
                interval(left.saturating_add(SETTLE_MARGIN))
            })
            .collect();
        let origins: Vec<_> = entries().map(|entry| entry.origin.as_str()).collect();
        let actors: Vec<_> = entries().map(|entry| entry.actor.as_str()).collect();
        let tenants: Vec<_> = entries()
            .map(|entry| entry.tenant.as_ref().map(TenantId::as_str))
            .collect();
        let room_names: Vec<_> = entries().map(|e| stored(e.room_name.as_ref())).collect();
        let (policy_owners, policy_names, policy_revisions): (Vec<_>, Vec<_>, Vec<_>) =
            entries().map(Entry::policy_columns).collect();
        let event_ids: Vec<_> = entries().map(|e| stored(e.event_id.as_ref())).collect();
        let (request_ids, on_behalf_ofs, reasons): (Vec<_>, Vec<_>, Vec<_>) =
            entries().map(Entry::request_columns).collect();
        let are_manual_unmutes: Vec<_> = proposals()
            .map(|p| {
                p.permit.verb() == Verb::Unmute
                    && matches!(p.permit.authority(), Authority::Caller { .. })
            })
            .collect();
        let repeats = || proposals().map(|proposal| proposal.repeats);
        let repeats_ids: Vec<_> = repeats().map(|action| Some(action?.action_id)).collect();
        let repeats_ats: Vec<_> = repeats().map(|action| Some(action?.started_at)).collect();
        let looked_after: Vec<_> = proposals()
            .map(|p| self.clock.earliest(p.fetched_at))
            .collect();
        // Jobs are locked before leases, and each in the order of its key: two batches never wait for each
        // other. (The sort of the leases reads all of `locked` before the first lease is taken.)
        let rows = sqlx::query_file!(
            "src/ledger/begin.sql",
            &columns.action_ids,
            &columns.room_sids as _,
            &columns.identities as _,
            &columns.sources as _,
            &columns.track_sids,
            &holds,
            &columns.as_ofs as _,
            &origins as _,
            &actors as _,
            &tenants as _,
            &columns.actions as _,
            &room_names as _,
            &policy_owners as _,
            &policy_names as _,
            &policy_revisions as _,
            &event_ids as _,
            &request_ids as _,
            &columns.befores as _,
            &are_manual_unmutes,
            &columns.fetched,
            &columns.job_times as _,
            &columns.job_ids as _,
            &columns.attempts as _,
            self.replica,
            &repeats_ids as _,
            &repeats_ats as _,
            &looked_after as _,
            &on_behalf_ofs as _,
            &reasons as _,
        )
        .fetch_all(connection)
        .await?;
        let begun = rows.into_iter().map(|row| (row.action_id, row.started_at));
        Ok(begun.collect())
    }
}

/// Why actions could not be begun.
async fn why_not(
    connection: &mut Connection,
    losers: &[&BeginRequest],
) -> Result<HashMap<Uuid, Written>, sqlx::Error> {
    let proposals: Vec<_> = losers.iter().map(|request| &request.proposal).collect();
    let columns = Columns::of(&proposals);
    let rows = sqlx::query_file!(
        "src/ledger/why_not.sql",
        &columns.action_ids,
        &columns.room_sids as _,
        &columns.identities as _,
        &columns.sources as _,
        &columns.track_sids,
        &columns.as_ofs as _,
        &columns.job_times as _,
        &columns.job_ids as _,
        &columns.attempts as _,
        &columns.actions as _,
        &columns.fetched,
        &columns.befores as _,
    )
    .fetch_all(connection)
    .await?;
    let why = rows.into_iter().map(|row| {
        let written = if let Some(started_at) = row.started_at {
            // Begun by a statement whose answer was lost.
            Written::Intent(started_at)
        } else if row.is_lost {
            Written::Lost
        } else if row.is_superseded {
            Written::Superseded
        } else if row.is_muted {
            Written::Muted
        } else {
            // Another action has the lease; or it is free again by now, and the next try gets it.
            Written::Busy
        };
        (row.action_id, written)
    });
    Ok(why.collect())
}
