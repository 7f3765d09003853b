//! Which of one owner's policies could be about a track: looked up by the room's name, the
//! participant's identity or the track's source, instead of asked one by one.
//!
//! A policy that names rooms stands under each of their globs; one that names no room, but
//! identities, under those; any other under each source that it is about. A glob is looked up by
//! what it is: a whole name and a prefix in a hash map, any other by the longest text that it
//! asks for, all of which are searched for at once. What is found is asked in full afterwards:
//! the index only leaves out what cannot be.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use foldhash::fast::RandomState;

use super::compile::CompiledPolicy;
use super::facts::{Fact, Facts};
use super::glob::{Glob, Shape};

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
struct Entry {
    position: u32,
    source: u8,
    type_: u8,
    kind: u8,
}

impl Entry {
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

/// Entries by a glob of a name.
#[derive(Debug, Default)]
struct Names {
    /// The entries of everything below, side by side.
    entries: Box<[Entry]>,
    exact: HashMap<Box<str>, Span, RandomState>,
    prefixes: HashMap<Box<str>, Span, RandomState>,
    /// How long the prefixes are, in bytes, each length once.
    prefix_bytes: Box<[usize]>,
    globs: Option<Globs>,
}

/// A part of the entries.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        place(self.start)..place(self.end)
    }
}

impl Names {
    fn find(&self, name: &str, found: &mut impl FnMut(&[Entry])) {
        let mut all = |span: Span| {
            if let Some(entries) = self.entries.get(span.range()) {
                found(entries);
            }
        };
        if let Some(span) = self.exact.get(name) {
            all(*span);
        }
        for bytes in &self.prefix_bytes {
            let prefix = name.get(..*bytes);
            if let Some(span) = prefix.and_then(|prefix| self.prefixes.get(prefix)) {
                all(*span);
            }
        }
        if let Some(globs) = &self.globs {
            globs.find(name, all);
        }
    }
}

/// The globs that are neither a whole name nor a prefix, each once.
#[derive(Debug)]
struct Globs {
    patterns: Box<[(Glob, Span)]>,
    /// Finds the texts that globs ask for.
    texts: Option<AhoCorasick>,
    /// The globs that ask for the text of this number.
    by_text: Box<[Box<[u32]>]>,
    /// The globs that ask for no text at all.
    rest: Box<[u32]>,
}

impl Globs {
    fn find(&self, name: &str, mut found: impl FnMut(Span)) {
        let mut all = |numbers: &[u32]| {
            for number in numbers {
                let place = usize::try_from(*number).unwrap_or(usize::MAX);
                if let Some((glob, span)) = self.patterns.get(place)
                    && glob.is_match(name)
                {
                    found(*span);
                }
            }
        };
        all(&self.rest);
        for text in self
            .texts
            .iter()
            .flat_map(|texts| texts.find_overlapping_iter(name))
        {
            all(self
                .by_text
                .get(text.pattern().as_usize())
                .map_or(&[], |globs| &**globs));
        }
    }
}

/// Entries by their keys, in the order in which they come.
#[derive(Default)]
struct NamesBuilder<'p> {
    exact: Keyed<&'p str>,
    prefixes: Keyed<&'p str>,
    globs: Keyed<&'p Glob>,
}

/// The number of each key, and the entries as (number of their key, entry).
struct Keyed<K> {
    keys: HashMap<K, u32, RandomState>,
    entries: Vec<(u32, Entry)>,
}

impl<K> Default for Keyed<K> {
    fn default() -> Self {
        Self {
            keys: HashMap::default(),
            entries: Vec::new(),
        }
    }
}

impl<K: std::hash::Hash + Eq> Keyed<K> {
    fn add(&mut self, key: K, entry: Entry) {
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let number = *self.keys.entry(key).or_insert(next);
        self.entries.push((number, entry));
    }

    /// Puts the entries behind `all`, those of a key side by side, and answers each key's part.
    fn lay_out(self, all: &mut Vec<Entry>) -> Vec<(K, Span)> {
        let mut entries = self.entries;
        // Stable: the entries of a key stay in the order of their positions.
        entries.sort_by_key(|(number, _)| *number);
        let here = |all: &Vec<Entry>| u32::try_from(all.len()).unwrap_or(u32::MAX);
        let mut spans = vec![Span::default(); self.keys.len()];
        for group in entries.chunk_by(|(one, _), (other, _)| one == other) {
            let start = here(all);
            all.extend(group.iter().map(|(_, entry)| *entry));
            let number = group
                .first()
                .and_then(|(number, _)| usize::try_from(*number).ok());
            if let Some(span) = number.and_then(|number| spans.get_mut(number)) {
                *span = Span {
                    start,
                    end: here(all),
                };
            }
        }
        let span = |number: u32| {
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            spans.get(place).copied().unwrap_or_default()
        };
        self.keys
            .into_iter()
            .map(|(key, number)| (key, span(number)))
            .collect()
    }
}

impl<'p> NamesBuilder<'p> {
    fn add(&mut self, globs: &'p [Glob], entry: Entry) {
        for glob in globs {
            match glob.shape() {
                Shape::Exact(name) => self.exact.add(name, entry),
                Shape::Prefix(prefix) => self.prefixes.add(prefix, entry),
                Shape::Holds(_) => self.globs.add(glob, entry),
            }
        }
    }

    fn build(self) -> Names {
        let mut entries = Vec::new();
        let owned = |(key, span): (&str, Span)| (Box::from(key), span);
        let exact = self
            .exact
            .lay_out(&mut entries)
            .into_iter()
            .map(owned)
            .collect();
        let prefixes: HashMap<Box<str>, _, _> = self
            .prefixes
            .lay_out(&mut entries)
            .into_iter()
            .map(owned)
            .collect();
        let mut prefix_bytes: Vec<_> = prefixes.keys().map(|prefix| prefix.len()).collect();
        prefix_bytes.sort_unstable();
        prefix_bytes.dedup();
        let globs = self.globs.lay_out(&mut entries);
        Names {
            exact,
            prefixes,
            prefix_bytes: prefix_bytes.into(),
            globs: (!globs.is_empty()).then(|| Globs::new(globs)),
            entries: entries.into(),
        }
    }
}

impl Globs {
    fn new(globs: Vec<(&Glob, Span)>) -> Self {
        let mut by_text: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (number, (glob, _)) in (0_u32..).zip(&globs) {
            let text = match glob.shape() {
                Shape::Holds(text) => text,
                Shape::Exact(_) | Shape::Prefix(_) => String::new(),
            };
            by_text.entry(text).or_default().push(number);
        }
        let rest = by_text.remove("").unwrap_or_default();
        let texts = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(by_text.keys());
        let (texts, by_text, rest) = match texts {
            Ok(texts) => (Some(texts), by_text.into_values().collect(), rest),
            // Far more of them than policies may be stored: each is tried on every name.
            Err(_) => (
                None,
                Vec::new(),
                (0_u32..).zip(&globs).map(|(number, _)| number).collect(),
            ),
        };
        Self {
            texts,
            patterns: globs
                .into_iter()
                .map(|(glob, span)| (glob.clone(), span))
                .collect(),
            by_text: by_text.into_iter().map(Vec::into_boxed_slice).collect(),
            rest: rest.into(),
        }
    }
}
