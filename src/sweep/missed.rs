//! Finds rooms of which a webhook is missing: a track or a participant ends there that never began.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::tick::{Tick, TickCause};
use crate::livekit::event::{Event, PARTICIPANT_LEFT, TRACK_UNPUBLISHED};
use crate::postgres::{Pool, to_pg_text};

/// What comes within this time is looked up together.
const GATHER: Duration = Duration::from_millis(200);
const EVENTS_MAX: usize = 256;
/// A room is swept for this at most once in this time.
pub(super) const EVERY: Duration = Duration::from_secs(10);

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

/// The rooms of these events in which something ended whose beginning is not stored.
pub(super) async fn rooms(
    pool: &Pool,
    events: &[Event],
    now: DateTime<Utc>,
) -> Result<Vec<Tick>, sqlx::Error> {
    let ends: Vec<_> = events
        .iter()
        .filter(|event| matches!(event.name.as_str(), TRACK_UNPUBLISHED | PARTICIPANT_LEFT))
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
        r#"select distinct room_sid as "room_sid!", room_name as "room_name!"
           from unnest($1::text[], $2::text[], $3::text[], $4::text[])
               as t(room_sid, room_name, identity, track_sid)
           where case when track_sid = ''
                 then not exists (
                     select from webhook_event e
                     where e.room_sid = t.room_sid and e.event = 'participant_joined'
                       and e.identity = t.identity)
                 else not exists (
                     select from webhook_event e
                     where e.track_sid = t.track_sid and e.event = 'track_published') end"#,
        &sids,
        &names,
        &identities,
        &tracks,
    )
    .fetch_all(pool)
    .await?;
    let bucket = bucket(now);
    let ticks = rows.into_iter().map(|row| Tick {
        cause: TickCause::MissingWebhook,
        key: format!("{} {bucket}", row.room_sid),
        room_name: Some(row.room_name),
    });
    Ok(ticks.collect())
}

/// For an event that this replica could not take: nobody knows what it was about.
pub(super) fn somewhere(replica: &str, now: DateTime<Utc>) -> Tick {
    Tick {
        cause: TickCause::MissingWebhook,
        key: format!("{replica} {}", bucket(now)),
        room_name: None,
    }
}

fn bucket(now: DateTime<Utc>) -> i64 {
    let every = i64::try_from(EVERY.as_secs()).unwrap_or(i64::MAX);
    now.timestamp().div_euclid(every)
}
