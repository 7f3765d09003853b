//! Reads stored `track_published` events, oldest first, a page at a time.
//!
//! Pages by key, and not one long query: each page is a short statement in a read-only transaction of
//! its own. So no open snapshot holds vacuum back, no lock keeps a partition from being dropped, and
//! others can use the connection between pages.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use super::time_range::TimeRange;
use crate::postgres::Pool;
use quell_policy::TenantId;

/// Events that nobody has read lately come from disk, which may be slow.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A stored `track_published` event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Published {
    pub(super) created_at: DateTime<Utc>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) event_id: String,
    pub(super) room_sid: Option<String>,
    pub(super) room_name: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) track_sid: Option<String>,
    pub(super) settlement: Option<String>,
    /// JSON as text: it is parsed on a blocking thread.
    pub(super) facts: Option<String>,
    pub(super) decision: Option<String>,
}

/// The last event that is read: the next page begins after it.
///
/// Clients send it back as an opaque text (base64url).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(super) created_at: DateTime<Utc>,
    event_id: String,
}

/// The text is not a cursor from a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`after` is not what `truncated.next` of a report says")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.created_at.timestamp_micros();
        let plain = format!("{micros} {}", self.event_id);
        f.write_str(&URL_SAFE_NO_PAD.encode(plain))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let plain = String::from_utf8(bytes).map_err(|_| CursorError)?;
        let (micros, event_id) = plain.split_once(' ').ok_or(CursorError)?;
        let micros: u64 = micros.parse().map_err(|_| CursorError)?;
        let micros = i64::try_from(micros).map_err(|_| CursorError)?;
        let created_at = DateTime::from_timestamp_micros(micros).ok_or(CursorError)?;
        // Postgres takes no NUL, and no stored id has one.
        if event_id.contains('\0') {
            return Err(CursorError);
        }
        Ok(Self {
            created_at,
            event_id: event_id.to_owned(),
        })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Cursor {
    /// The time of the last event that is read.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Before every event at or after `instant`: no event's id is empty.
    pub(super) fn before(instant: DateTime<Utc>) -> Self {
        Self {
            created_at: instant,
            event_id: String::new(),
        }
    }
}

/// Reads the events of a time range, page by page.
#[derive(Debug, Clone)]
pub(super) struct EventReader {
    pub(super) pool: Pool,
    pub(super) range: TimeRange,
    /// Only this tenant's rooms; none is all rooms.
    pub(super) tenant: Option<TenantId>,
    /// Each page covers at most this many tracks, anybody's.
    pub(super) page_tracks: i64,
}

/// Some events, and the cursor for the next page; none at the end.
#[derive(Debug, Default)]
pub(super) struct EventPage {
    pub(super) tracks: Vec<Published>,
    pub(super) next: Option<Cursor>,
}

impl EventReader {
    /// The page after `cursor`.
    pub(super) async fn page(&self, cursor: &Cursor) -> Result<EventPage, sqlx::Error> {
        let mut tx = self.pool.within(PAGE_TIMEOUT).begin_read_only().await?;
        // The index alone says where the page ends: a page is bounded by the tracks that it passes
        // over, and not by the tenant's, which may be few.
        // (The row comparison uses the index; the plain ones skip partitions.)
        let end = sqlx::query!(
            "select created_at, event_id from webhook_event
             where created_at >= $1 and created_at < $3 and (created_at, event_id) > ($1, $2)
               and event = 'track_published'
             order by created_at, event_id
             offset $4 limit 1",
            cursor.created_at,
            cursor.event_id,
            self.range.until,
            self.page_tracks - 1,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let next = end.map(|end| Cursor {
            created_at: end.created_at,
            event_id: end.event_id,
        });
        let last = next
            .clone()
            .unwrap_or_else(|| Cursor::before(self.range.until));
        let mut tracks = sqlx::query_as!(
            Published,
            "select created_at, received_at, event_id, room_sid, room_name, identity, track_sid,
                    settlement, facts::text, decision::text
             from webhook_event
             where created_at >= $1 and created_at <= $3
               and (created_at, event_id) > ($1, $2) and (created_at, event_id) <= ($3, $4)
               and event = 'track_published' and ($5::text is null or tenant = $5)",
            cursor.created_at,
            cursor.event_id,
            last.created_at,
            last.event_id,
            self.tenant.as_ref().map(TenantId::as_str),
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        // Not in SQL: Postgres would sort rows with their facts on disk.
        tracks.sort_by(|a, b| (a.created_at, &a.event_id).cmp(&(b.created_at, &b.event_id)));
        Ok(EventPage { tracks, next })
    }

    /// The cursor to continue from, when all events between `start` and `end` are read and `last` is
    /// the time of the last track among them. None where it would not be after `start`.
    ///
    /// A tenant continues from its own last track or, without one, from the last whole hour before
    /// `end`: `end` would tell it when another tenant's event was.
    pub(super) async fn resume(
        &self,
        start: &Cursor,
        last: Option<DateTime<Utc>>,
        end: &Cursor,
    ) -> Result<Option<Cursor>, sqlx::Error> {
        let Some(tenant) = &self.tenant else {
            let is_further = last.is_some() || end.created_at > start.created_at;
            return Ok(is_further.then(|| end.clone()));
        };
        let Some(last) = last else {
            let hour = end.created_at.duration_trunc(TimeDelta::hours(1)).ok();
            let hour = hour.filter(|hour| *hour > start.created_at);
            return Ok(hour.map(Cursor::before));
        };
        // Among events of one time only Postgres knows its own order of ids.
        let event_id = sqlx::query_scalar!(
            "select max(event_id) from webhook_event
             where created_at = $1 and (created_at, event_id) <= ($2, $3)
               and event = 'track_published' and tenant = $4",
            last,
            end.created_at,
            end.event_id,
            tenant.as_str(),
        );
        let event_id = event_id.fetch_one(&self.pool).await?;
        Ok(Some(Cursor {
            created_at: last,
            event_id: event_id.unwrap_or_default(),
        }))
    }

    /// The time of the oldest stored event of a track; none where none is stored.
    pub(super) async fn oldest(&self) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        sqlx::query_scalar!(
            "select min(created_at) from webhook_event where event = 'track_published'"
        )
        .fetch_one(&self.pool)
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_text_and_comes_back() {
        for id in ["", "EV_4sQWBKxkXCUN", "with space", "é\u{fffd}"] {
            let cursor = Cursor {
                created_at: "2026-03-01T12:00:00.000001Z".parse().unwrap(),
                event_id: id.to_owned(),
            };
            let text = cursor.to_string();
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
            assert_eq!(text.parse(), Ok(cursor));
        }
        let coded = |plain: &str| URL_SAFE_NO_PAD.encode(plain);
        for text in [
            "",
            "7d",
            "2026-03-01",
            &coded("1"),
            &coded("x EV_1"),
            &coded("-1 EV_1"),
            &coded("9223372036854775807 EV_1"),
            &coded("1 EV\0"),
            &URL_SAFE_NO_PAD.encode(b"1 \xff"),
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }
}
