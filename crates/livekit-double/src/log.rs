//! What happened: the calls that came in, the events and their deliveries, the latest of each.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Shared;
use super::faults::{self, Method, Trouble};

/// At most this many entries are kept.
const ENTRIES_MAX: usize = 10_000;

/// One call to `RoomService`, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    #[serde(skip)]
    id: CallId,
    /// The method's name.
    pub method: &'static str,
    /// The room that it was for; empty where it was for none, or refused before it was read.
    pub room: String,
    /// The participant that it was for.
    pub identity: String,
    /// The track that it was for.
    pub track_sid: String,
    /// Whether `MutePublishedTrack` should mute.
    pub muted: Option<bool>,
    /// The answer's status; none while there is no answer.
    pub status: Option<u16>,
    /// When it came.
    pub at: DateTime<Utc>,
}

/// Which call an answer belongs to.
pub(super) type CallId = u64;

impl Call {
    pub(super) fn of(&mut self, room: &str, identity: &str) {
        room.clone_into(&mut self.room);
        identity.clone_into(&mut self.identity);
    }
}

/// The latest entries, oldest first.
#[derive(Debug)]
pub(super) struct Log<T>(VecDeque<T>);

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone> Log<T> {
    pub(super) fn push(&mut self, entry: T) {
        if self.0.len() >= ENTRIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    pub(super) fn entries(&self) -> Vec<T> {
        self.0.iter().cloned().collect()
    }
}

impl Shared {
    /// Notes a call, and takes the trouble that it meets.
    pub(super) fn begin(self: &Arc<Self>, method: Method) -> (CallId, Trouble) {
        let at = self.config.clock.now();
        self.with(|inner| {
            let id = inner.calls.0.back().map_or(0, |call| call.id + 1);
            inner.calls.push(Call {
                id,
                method: method.name(),
                room: String::new(),
                identity: String::new(),
                track_sid: String::new(),
                muted: None,
                status: None,
                at,
            });
            (id, faults::take(&mut inner.faults, method))
        })
    }

    /// Notes what has become known of a call.
    pub(super) fn describe(self: &Arc<Self>, id: CallId, note: impl FnOnce(&mut Call)) {
        self.with(|inner| {
            if let Some(call) = inner.calls.0.iter_mut().rfind(|call| call.id == id) {
                note(call);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_make_room() {
        let mut log = Log::default();
        for entry in 0..=ENTRIES_MAX {
            log.push(entry);
        }
        let entries = log.entries();
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!(entries.last(), Some(&ENTRIES_MAX));
    }
}
