//! The statement that stores events and their jobs, and ends the jobs of tracks that are gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::event_key::EventKey;
use super::incoming::Incoming;
use crate::livekit::event::{Event, TRACK_PUBLISHED, ends_track};
use crate::postgres::{Connection, interval, to_pg_key, to_pg_text};
use quell_policy::TenantId;

/// Stores events for one replica, whose their jobs are.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) replica: String,
    /// How long a job is tried.
    pub(super) deadline: Duration,
}

/// What a statement stored and ended.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// When each was received; duplicates are missing.
    pub(super) received_at: HashMap<EventKey, DateTime<Utc>>,
    /// Jobs of tracks that are gone.
    pub(super) over: HashSet<EventKey>,
}

impl Store {
    /// Stores `batch`, all or nothing.
    pub(super) async fn store(
        &self,
        connection: &mut Connection,
        batch: &[Incoming],
    ) -> Result<Stored, sqlx::Error> {
        match self.insert(connection, batch).await {
            // A day without a partition: maintenance was late, or a captured event is replayed.
            Err(error) if is_no_partition(&error) => {
                for incoming in batch {
                    sqlx::query!(
                        "select quell_ensure_partitions($1)",
                        incoming.event.created_at
                    )
                    .execute(&mut *connection)
                    .await?;
                }
                self.insert(connection, batch).await
            }
            result => result,
        }
    }

    async fn insert(
        &self,
        connection: &mut Connection,
        batch: &[Incoming],
    ) -> Result<Stored, sqlx::Error> {
        let texts = |of: fn(&Event) -> &str| -> Vec<Option<String>> {
            let texts = batch.iter().map(|incoming| of(&incoming.event));
            texts
                .map(|text| (!text.is_empty()).then(|| to_pg_text(text)))
                .collect()
        };
        let room_sids = texts(|event| &event.room.sid);
        let room_names = texts(|event| &event.room.name);
        let identities = texts(|event| &event.participant.identity);
        let participant_sids = texts(|event| &event.participant.sid);
        let track_sids = texts(|event| &event.track.sid);
        let created_at: Vec<_> = batch.iter().map(|i| i.event.created_at).collect();
        let ids: Vec<_> = batch.iter().map(|i| to_pg_key(&i.event.id)).collect();
        let names: Vec<_> = batch.iter().map(|i| to_pg_text(&i.event.name)).collect();
        let tenants: Vec<_> = batch
            .iter()
            .map(|i| i.event.room.tenant.as_ref().map(TenantId::as_str))
            .collect();
        let bodies: Vec<_> = batch.iter().map(|i| i.body.as_str()).collect();
        let are_ours: Vec<_> = batch
            .iter()
            .map(|i| (i.event.name == TRACK_PUBLISHED).then_some(i.job.is_some()))
            .collect();
        let ends: Vec<_> = batch.iter().map(|i| ends_track(&i.event.name)).collect();
        let rows = sqlx::query_file!(
            "src/inbox/accept.sql",
            &created_at,
            &ids,
            &names,
            &room_sids as _,
            &room_names as _,
            &tenants as _,
            &identities as _,
            &participant_sids as _,
            &track_sids as _,
            &bodies as _,
            &are_ours as _,
            &ends,
            &self.replica,
            interval(self.deadline),
        )
        .fetch_all(connection)
        .await?;
        let mut stored = Stored::default();
        for row in rows {
            let key = (row.created_at, row.event_id);
            match row.received_at {
                Some(received_at) => drop(stored.received_at.insert(key, received_at)),
                None => drop(stored.over.insert(key)),
            }
        }
        Ok(stored)
    }
}

/// The same batch, cut where an event ends what an earlier one may have begun: a statement does not see the
/// jobs that it makes.
pub(super) fn ends_apart(batch: Vec<Incoming>) -> Vec<Vec<Incoming>> {
    let mut parts = Vec::new();
    let mut part: Vec<Incoming> = Vec::new();
    let mut rooms = HashSet::new();
    for incoming in batch {
        if ends_track(&incoming.event.name) && rooms.contains(&incoming.event.room.sid) {
            parts.push(std::mem::take(&mut part));
            rooms.clear();
        }
        if incoming.event.name == TRACK_PUBLISHED {
            rooms.insert(incoming.event.room.sid.clone());
        }
        part.push(incoming);
    }
    parts.push(part);
    parts
}

/// A check that fails without a constraint's name: there is no partition for the row.
fn is_no_partition(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("23514") && error.constraint().is_none()
    })
}
