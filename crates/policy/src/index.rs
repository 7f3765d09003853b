//! Which of one owner's policies could be about a track: looked up by the room's name, the
//! participant's identity, an attribute or the track's source, instead of asked one by one.
//!
//! A policy that names rooms stands under each of their globs; one that names no room, but
//! identities, under those; one that names neither, but attributes, under the values of one of
//! them; any other under each source that it is about. A glob is looked up by the longest text
//! that it asks for: a whole name, the start or the end of one in a hash map, a text inside by a
//! search for all such texts at once. The policies that the index returns are then asked in full: it
//! only leaves out policies that cannot match.
//!
//! Only hashes of texts are kept, with a new seed for each set: nobody outside can choose texts that
//! collide. A collision returns both policies, which does no harm. The texts themselves would cost
//! memory, and a cache miss for each lookup.

mod build;
mod inside;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::facts::{Fact, Facts};
use inside::Inside;

/// Sources that tracks are indexed by: a bit of `Source` each.
const SOURCES: usize = 8;

/// One event's facts in the form in which entries are compared with them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe<'a> {
    hash: &'a RandomState,
    room: Sought<'a>,
    identity: Sought<'a>,
    attributes: &'a Fact<BTreeMap<String, String>>,
    words: Words,
}

/// A name and its hash, which is computed once for all owners.
#[derive(Debug, Clone, Copy)]
struct Sought<'a> {
    name: &'a str,
    hash: u32,
}

impl<'a> Probe<'a> {
    /// `hash` is the hasher of the indexes.
    pub(super) fn new(facts: &'a Facts, hash: &'a RandomState) -> Self {
        let sought = |of: Name, name: &'a str| Sought {
            name,
            hash: hash_of_name(hash, of, Anchor::Whole, name),
        };
        Self {
            hash,
            room: sought(Name::Room, &facts.room.name),
            identity: sought(Name::Identity, &facts.participant.identity),
            attributes: &facts.participant.attributes,
            words: Words {
                source: facts.track.source.bit(),
                type_: facts.track.type_.bit(),
                kind: match &facts.participant.kind {
                    Fact::Known(kind) => kind.bit(),
                    Fact::Unknown => u8::MAX,
                },
            },
        }
    }

    /// A room of that name, and any track in it.
    pub(super) fn of_room(room: &'a str, hash: &'a RandomState) -> Self {
        let sought = |of: Name, name: &'a str| Sought {
            name,
            hash: hash_of_name(hash, of, Anchor::Whole, name),
        };
        Self {
            hash,
            room: sought(Name::Room, room),
            identity: sought(Name::Identity, ""),
            attributes: &Fact::Unknown,
            words: Words {
                source: u8::MAX,
                type_: u8::MAX,
                kind: u8::MAX,
            },
        }
    }

    fn sought(&self, name: Name) -> Sought<'a> {
        match name {
            Name::Room => self.room,
            Name::Identity => self.identity,
        }
    }
}

/// The words of a track, or those that a policy asks for, as bit sets.
#[derive(Debug, Clone, Copy, Default)]
struct Words {
    source: u8,
    type_: u8,
    kind: u8,
}

impl Words {
    fn may_be_about(self, track: Self) -> bool {
        self.source & track.source != 0
            && self.type_ & track.type_ != 0
            && self.kind & track.kind != 0
    }

    fn or(self, other: Self) -> Self {
        Self {
            source: self.source | other.source,
            type_: self.type_ | other.type_,
            kind: self.kind | other.kind,
        }
    }
}

/// The position of a policy in its owner's list, and the words that it asks for: by them most policies
/// are left out without visiting them.
#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    position: u32,
    words: Words,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    start: u32,
    end: u32,
}

impl Range {
    fn new(start: usize, end: usize) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: place(start),
            end: place(end),
        }
    }

    fn of<T>(self, list: &[T]) -> &[T] {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let range = place(self.start)..place(self.end);
        list.get(range).unwrap_or_default()
    }
}

/// The entries of texts, by the hash of the text and of what it is a text of.
#[derive(Debug, Default)]
struct Texts {
    by_hash: HashMap<u32, OfText, BuildHasherDefault<Hashed>>,
    /// Those of texts that have several, side by side.
    shared: Box<[IndexEntry]>,
    parts: Box<[Range]>,
}

/// Mostly there is one entry, which is stored inline to avoid a cache miss.
#[derive(Debug, Clone, Copy)]
enum OfText {
    One {
        position: u32,
        words: Words,
    },
    /// Those of this part.
    Several(u32),
}

impl Texts {
    fn find(&self, hash: u32, found: &mut impl FnMut(IndexEntry)) {
        match self.by_hash.get(&hash) {
            None => {}
            Some(OfText::One { position, words }) => found(IndexEntry {
                position: *position,
                words: *words,
            }),
            Some(OfText::Several(part)) => {
                let place = usize::try_from(*part).unwrap_or(usize::MAX);
                let part = self.parts.get(place).copied().unwrap_or_default();
                part.of(&self.shared).iter().copied().for_each(found);
            }
        }
    }
}

/// A hasher of values that are hashes already. Only half of a hash is kept, to save memory; two texts of
/// one owner rarely collide.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    /// A map looks at the lowest bits and at the highest.
    fn write_u32(&mut self, hash: u32) {
        self.0 = (self.0 ^ u64::from(hash)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// A name that globs are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Room,
    Identity,
}

/// Which text of a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Anchor {
    Whole,
    Start,
    End,
}

/// One lookup in the texts: of whole names, or of their starts or ends of one length.
#[derive(Debug, Clone, Copy)]
struct Lookup {
    name: Name,
    place: Anchor,
    bytes: u32,
    /// The bytes that its texts start and end with: by these, most names are ruled out.
    first: Bytes,
    last: Bytes,
}

impl Lookup {
    /// The hash to look up; none where the name is shorter, or no text has its first and last byte.
    fn hash(&self, probe: &Probe<'_>) -> Option<u32> {
        let Sought { name, hash } = probe.sought(self.name);
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let text = match self.place {
            Anchor::Whole => name,
            Anchor::Start => name.get(..bytes)?,
            Anchor::End => name.get(name.len().checked_sub(bytes)?..)?,
        };
        if !self.first.has(text.bytes().next()) || !self.last.has(text.bytes().next_back()) {
            return None;
        }
        Some(match self.place {
            Anchor::Whole => hash,
            Anchor::Start | Anchor::End => hash_of_name(probe.hash, self.name, self.place, text),
        })
    }
}

/// An approximate set of bytes: bytes with the same lower bits are not told apart.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes(u64);

impl Bytes {
    /// No byte, of an empty text, is in every set: such a text is in every name.
    fn has(self, byte: Option<u8>) -> bool {
        byte.is_none_or(|byte| self.0 & Self::bit(byte) != 0)
    }

    fn add(&mut self, byte: Option<u8>) {
        self.0 |= byte.map_or(0, Self::bit);
    }

    fn bit(byte: u8) -> u64 {
        1 << (byte & 63)
    }
}

/// Entries of policies by attributes.
#[derive(Debug, Default)]
struct Attributes {
    texts: Texts,
    /// All of them, and all the words that they ask for.
    all: Box<[IndexEntry]>,
    words: Words,
}

/// An index of one owner's live policies.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The lookups that its globs need, and the entries that they search.
    lookups: SmallVec<[Lookup; 5]>,
    texts: Texts,
    inside: SmallVec<[(Name, Inside); 1]>,
    attributes: Attributes,
    sources: [Box<[IndexEntry]>; SOURCES],
}

impl Index {
    /// Calls `found` with the position of each policy that may match the track; with some of them more
    /// than once.
    pub(super) fn find(&self, probe: &Probe<'_>, mut found: impl FnMut(u32)) {
        let mut each = |entry: IndexEntry| {
            if entry.words.may_be_about(probe.words) {
                found(entry.position);
            }
        };
        self.find_by_globs(probe, &[Name::Room, Name::Identity], &mut each);
        if self.attributes.words.may_be_about(probe.words) {
            match probe.attributes {
                Fact::Known(attributes) => {
                    for (key, value) in attributes {
                        let hash = hash_of_attribute(probe.hash, key, value);
                        self.attributes.texts.find(hash, &mut each);
                    }
                }
                Fact::Unknown => self.attributes.all.iter().copied().for_each(&mut each),
            }
        }
        let place = usize::try_from(probe.words.source.trailing_zeros()).unwrap_or(SOURCES);
        let of_source = self.sources.get(place).map_or(&[][..], |entries| entries);
        of_source.iter().copied().for_each(each);
    }

    /// Calls `found` with the position of each policy that names rooms and may name this one.
    pub(super) fn find_by_room(&self, probe: &Probe<'_>, mut found: impl FnMut(u32)) {
        self.find_by_globs(probe, &[Name::Room], &mut |entry| found(entry.position));
    }

    fn find_by_globs(&self, probe: &Probe<'_>, names: &[Name], each: &mut impl FnMut(IndexEntry)) {
        for look in &self.lookups {
            if names.contains(&look.name)
                && let Some(hash) = look.hash(probe)
            {
                self.texts.find(hash, each);
            }
        }
        for (name, inside) in &self.inside {
            if names.contains(name) {
                inside.find(probe.sought(*name).name, each);
            }
        }
    }
}

fn hash_of_name(hash: &RandomState, name: Name, place: Anchor, text: &str) -> u32 {
    let of_what = match (name, place) {
        (Name::Room, Anchor::Whole) => 0,
        (Name::Room, Anchor::Start) => 1,
        (Name::Room, Anchor::End) => 2,
        (Name::Identity, Anchor::Whole) => 3,
        (Name::Identity, Anchor::Start) => 4,
        (Name::Identity, Anchor::End) => 5,
    };
    let mut hasher = hash.build_hasher();
    hasher.write(text.as_bytes());
    hasher.write_u8(of_what);
    half(hasher.finish())
}

fn hash_of_attribute(hash: &RandomState, key: &str, value: &str) -> u32 {
    half(hash.hash_one((key, value)))
}

fn half(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}
