//! Finds rooms of which a webhook is missing: a track or a participant ends there that never began.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::tick::{Tick, TickCause};
use crate::livekit::event::{Event, PARTICIPANT_LEFT, TRACK_UNPUBLISHED};
use crate::postgres::{Pool, to_pg_text};

/// What comes within this time is looked up together.
const GATHER: Duration = Duration::from_millis(200);
const EVENTS_MAX: usize = 256;
/// Whether all who left had joined is looked up at most once in 2 s for a room.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const ROOMS_MAX: usize = 10_000;
/// A room is swept for this at most once in 10 s.
const ROOM_EVERY_SECS: i64 = 10;

/// The next events that end something: what came at about the same time. None: there will be no more.
pub(super) async fn gather(events: &mut mpsc::Receiver<Event>) -> Option<Vec<Event>> {
    let mut gathered = vec![events.recv().await?];
    let more = async {
        while gathered.len() < EVENTS_MAX
            && let Some(event) = events.recv().await
        {
            gathered.push(event);
        }
    };
    drop(timeout(GATHER, more).await);
    Some(gathered)
}

/// The rooms that were looked at lately: in a large one, all who ever joined are read.
#[derive(Debug, Default)]
pub(super) struct Looked(HashMap<String, Instant>);

impl Looked {
    /// Whether the room was not looked at for a while; from now on it was.
    fn take(&mut self, room_sid: &str) -> bool {
        let is_old = |at: &Instant| at.elapsed() >= LOOK_EVERY;
        if self.0.len() >= ROOMS_MAX {
            self.0.retain(|_, at| !is_old(at));
        }
        if self.0.get(room_sid).is_some_and(|at| !is_old(at)) {
            return false;
        }
        self.0.insert(room_sid.to_owned(), Instant::now());
        true
    }
}

/// The rooms of these events in which something ended whose beginning is not stored.
pub(super) async fn rooms(
    pool: &Pool,
    events: &[Event],
    looked: &mut Looked,
    now: DateTime<Utc>,
) -> Result<Vec<Tick>, sqlx::Error> {
    let ends: Vec<_> = events
        .iter()
        .filter(|event| matches!(event.name.as_str(), TRACK_UNPUBLISHED | PARTICIPANT_LEFT))
        .collect();
    let mut rooms: HashMap<&str, bool> = HashMap::new();
    let ends: Vec<_> = ends
        .into_iter()
        .filter(|event| {
            let sid = event.room.sid.as_str();
            // A track is found by itself.
            event.name == TRACK_UNPUBLISHED || *rooms.entry(sid).or_insert_with(|| looked.take(sid))
        })
        .collect();
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let texts = |of: fn(&Event) -> &str| -> Vec<String> {
        ends.iter().map(|event| to_pg_text(of(event))).collect()
    };
    let (sids, names) = (
        texts(|event| &event.room.sid),
        texts(|event| &event.room.name),
    );
    let identities = texts(|event| &event.participant.identity);
    let tracks = texts(|event| &event.track.sid);
    let rows = sqlx::query!(
        r#"with ended as materialized (
               select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
                   as t(room_sid, room_name, identity, track_sid)),
           joined as materialized (
               select distinct room_sid, identity from webhook_event
               where event = 'participant_joined' and room_sid in (select room_sid from ended where track_sid = ''))
           select room_sid as "room_sid!", room_name as "room_name!" from ended d
           where track_sid = '' and not exists (
               select from joined j where j.room_sid = d.room_sid and j.identity = d.identity)
           union
           select room_sid, room_name from ended d
           where track_sid <> '' and not exists (
               select from webhook_event e where e.track_sid = d.track_sid and e.event = 'track_published')"#,
        &sids,
        &names,
        &identities,
        &tracks,
    )
    .fetch_all(pool)
    .await?;
    let bucket = now.timestamp().div_euclid(ROOM_EVERY_SECS);
    let ticks = rows.into_iter().map(|row| Tick {
        cause: TickCause::MissingWebhook,
        key: format!("{} {bucket}", row.room_sid),
        room_name: Some(row.room_name),
    });
    Ok(ticks.collect())
}
