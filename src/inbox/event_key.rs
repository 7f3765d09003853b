//! What an event is known by, and its job.

use chrono::{DateTime, Utc};

use crate::livekit::event::Event;
use crate::postgres::to_pg_key;

/// When an event happened and its id, as they are stored.
pub(super) type EventKey = (DateTime<Utc>, String);

/// The key of `event`.
pub(super) fn event_key(event: &Event) -> EventKey {
    (event.created_at, to_pg_key(&event.id))
}
