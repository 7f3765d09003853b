//! Counts tracks, and their distinct rooms and participants, under several headings at once.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use schemars::JsonSchema;
use serde::Serialize;

/// At most this many distinct rooms, and as many participants, are counted: about 35 MB each.
const DISTINCT_MAX: usize = 1_000_000;
const HEADINGS_MAX: usize = 32;

/// A set of headings, one bit each; at most 32.
pub(super) type Headings = u32;

/// How many tracks, rooms and participants are under one heading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counted {
    /// Tracks.
    pub tracks: u64,
    /// Distinct rooms of these tracks, by SID.
    pub rooms: u64,
    /// Distinct participants that publish them, by room SID and identity.
    pub participants: u64,
}

/// Counts by heading.
#[derive(Debug)]
pub(super) struct Counter {
    hasher: RandomState,
    tracks: [u64; HEADINGS_MAX],
    rooms: Distinct,
    participants: Distinct,
}

impl Counter {
    pub(super) fn new() -> Self {
        Self::with_distinct_max(DISTINCT_MAX)
    }

    fn with_distinct_max(max: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            tracks: [0; HEADINGS_MAX],
            rooms: Distinct::new(max),
            participants: Distinct::new(max),
        }
    }

    /// Counts one track under `headings`.
    pub(super) fn add(&mut self, room_sid: &str, identity: &str, headings: Headings) {
        each(headings, &mut self.tracks);
        self.rooms.add(self.hasher.hash_one(room_sid), headings);
        let participant = self.hasher.hash_one((room_sid, identity));
        self.participants.add(participant, headings);
    }

    /// The counts under `heading`, which is a single bit.
    pub(super) fn under(&self, heading: Headings) -> Counted {
        let at = |counts: &[u64; HEADINGS_MAX]| {
            let index = usize::try_from(heading.trailing_zeros()).ok();
            index.and_then(|index| counts.get(index)).copied()
        };
        Counted {
            tracks: at(&self.tracks).unwrap_or_default(),
            rooms: at(&self.rooms.counts).unwrap_or_default(),
            participants: at(&self.participants.counts).unwrap_or_default(),
        }
    }

    /// Whether there were more rooms or participants than are counted.
    pub(super) fn is_capped(&self) -> bool {
        self.rooms.is_capped || self.participants.is_capped
    }
}

/// Under which headings each name was seen. Names are kept as 64-bit hashes: among a million names,
/// the chance that any two share one is about one in thirty million.
#[derive(Debug)]
struct Distinct {
    max: usize,
    seen: HashMap<u64, Headings, foldhash::fast::RandomState>,
    counts: [u64; HEADINGS_MAX],
    is_capped: bool,
}

impl Distinct {
    fn new(max: usize) -> Self {
        Self {
            max,
            seen: HashMap::default(),
            counts: [0; HEADINGS_MAX],
            is_capped: false,
        }
    }

    fn add(&mut self, hash: u64, headings: Headings) {
        if self.seen.len() >= self.max && !self.seen.contains_key(&hash) {
            self.is_capped = true;
            return;
        }
        let seen = self.seen.entry(hash).or_default();
        let new = headings & !*seen;
        *seen |= headings;
        each(new, &mut self.counts);
    }
}

/// Adds one for each bit that is set.
fn each(mut headings: Headings, counts: &mut [u64; HEADINGS_MAX]) {
    while headings != 0 {
        let index = usize::try_from(headings.trailing_zeros()).ok();
        if let Some(count) = index.and_then(|index| counts.get_mut(index)) {
            *count += 1;
        }
        headings &= headings - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Headings = 1;
    const B: Headings = 1 << 31;

    #[test]
    fn a_room_and_a_participant_count_once_under_each_heading() {
        let mut counter = Counter::new();
        for (room, identity, headings) in [
            ("RM_1", "ann", A),
            ("RM_1", "ann", A | B),
            ("RM_1", "ben", A),
            ("RM_2", "ann", B),
        ] {
            counter.add(room, identity, headings);
        }
        let these = |tracks, rooms, participants| Counted {
            tracks,
            rooms,
            participants,
        };
        assert_eq!(counter.under(A), these(3, 1, 2));
        assert_eq!(counter.under(B), these(2, 2, 2));
        assert_eq!(counter.under(1 << 7), Counted::default());
        assert!(!counter.is_capped());
    }

    #[test]
    fn beyond_the_cap_the_known_ones_go_on_counting_and_it_is_capped() {
        let mut counter = Counter::with_distinct_max(2);
        for identity in ["ann", "ben", "cat", "ann"] {
            counter.add("RM_1", identity, A);
        }
        counter.add("RM_1", "ann", B);
        let under_a = counter.under(A);
        assert_eq!((under_a.tracks, under_a.participants), (4, 2));
        assert_eq!(counter.under(B).participants, 1);
        assert!(counter.is_capped());
    }
}
