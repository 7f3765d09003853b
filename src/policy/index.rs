//! Which of one owner's policies could be about a track: looked up by the room's name, the
//! participant's identity or the track's source, instead of asked one by one.
//!
//! A policy that names rooms stands under each of their globs; one that names no room, but
//! identities, under those; any other under each source that it is about. A glob is looked up by
//! the longest text that it asks for: a whole name, the start or the end of one in a hash map, a
//! text inside by a search for all such texts at once. What is found is asked in full afterwards:
//! the index only leaves out what cannot be.

use super::compile::CompiledPolicy;
use super::facts::{Fact, Facts};
use super::names::{Names, NamesBuilder};

/// Sources that tracks are indexed by: a bit of `Source` each.
const SOURCES: usize = 8;

/// One event's facts in the form in which entries are compared with them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe<'a> {
    room: &'a str,
    identity: &'a str,
    source: u8,
    type_: u8,
    kind: u8,
}

impl<'a> Probe<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        Self {
            room: &facts.room.name,
            identity: &facts.participant.identity,
            source: facts.track.source.bit(),
            type_: facts.track.type_.bit(),
            kind: match &facts.participant.kind {
                Fact::Known(kind) => kind.bit(),
                Fact::Unknown => u8::MAX,
            },
        }
    }
}

/// Where a policy stands in its owner's list, and the words that it asks for: most policies are
/// left out without looking at them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) position: u32,
    source: u8,
    type_: u8,
    kind: u8,
}

impl Entry {
    #[cfg(test)]
    pub(super) fn at(position: u32) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    fn may_be_about(self, probe: &Probe<'_>) -> bool {
        self.source & probe.source != 0
            && self.type_ & probe.type_ != 0
            && self.kind & probe.kind != 0
    }
}

/// An index of one owner's live policies.
#[derive(Debug, Default)]
pub(super) struct Index {
    rooms: Names,
    identities: Names,
    sources: [Box<[Entry]>; SOURCES],
}

impl Index {
    /// An index of `policies`, which stand at the positions that it answers.
    pub(super) fn new<'p>(policies: impl Iterator<Item = &'p CompiledPolicy>) -> Self {
        let (mut rooms, mut identities) = (NamesBuilder::default(), NamesBuilder::default());
        let mut sources: [Vec<Entry>; SOURCES] = Default::default();
        for (position, policy) in (0_u32..).zip(policies) {
            let wanted = &policy.match_;
            let entry = Entry {
                position,
                source: wanted.source,
                type_: wanted.type_,
                kind: wanted.kind,
            };
            if !wanted.room.is_empty() {
                rooms.add(&wanted.room, entry);
            } else if !wanted.identity.is_empty() {
                identities.add(&wanted.identity, entry);
            } else {
                for (place, of_source) in sources.iter_mut().enumerate() {
                    if wanted.source >> place & 1 != 0 {
                        of_source.push(entry);
                    }
                }
            }
        }
        Self {
            rooms: rooms.build(),
            identities: identities.build(),
            sources: sources.map(Vec::into_boxed_slice),
        }
    }

    /// Calls `found` with the position of each policy that could be about the track; with some
    /// more than once.
    pub(super) fn find(&self, probe: &Probe<'_>, mut found: impl FnMut(u32)) {
        let mut all = |entries: &[Entry]| {
            for entry in entries {
                if entry.may_be_about(probe) {
                    found(entry.position);
                }
            }
        };
        self.rooms.find(probe.room, &mut all);
        self.identities.find(probe.identity, &mut all);
        let place = usize::try_from(probe.source.trailing_zeros()).unwrap_or(SOURCES);
        all(self.sources.get(place).map_or(&[], |entries| &**entries));
    }
}
