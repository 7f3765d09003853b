//! Entries by globs of names: a name goes in, and the entries come out whose globs could match it.
//!
//! Texts are kept as their hashes only. Two that share one are found together, which does no harm:
//! what is found is asked in full anyway. The texts themselves would cost memory, and for each
//! look a visit to a far place in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use foldhash::fast::RandomState;

use super::glob::{Glob, Shape};
use super::index::Entry;

/// Entries by a glob of a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Seeded anew in each process: nobody outside can choose texts that share a hash.
    hash: RandomState,
    /// The entries of everything below, side by side.
    entries: Box<[Entry]>,
    whole: Texts,
    starts: Affixes,
    ends: Affixes,
    inside: Option<Inside>,
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

/// Parts by the hash of a text.
type Texts = HashMap<u64, Span, BuildHasherDefault<Hashed>>;

/// Takes what is a hash already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = self.0.rotate_left(8) ^ hash;
    }
}

/// Entries by how names start or end.
#[derive(Debug, Default)]
struct Affixes {
    texts: Texts,
    /// How long they are, in bytes, each length once.
    bytes: Box<[usize]>,
}

/// Entries by a text that names have in them.
#[derive(Debug)]
struct Inside {
    texts: AhoCorasick,
    /// The part of the text of this number.
    spans: Box<[Span]>,
}

impl Names {
    /// Calls `found` with all entries whose globs could match `name`; with some more than once.
    pub(super) fn find(&self, name: &str, found: &mut impl FnMut(&[Entry])) {
        let mut all = |span: Option<&Span>| {
            if let Some(entries) = span.and_then(|span| self.entries.get(span.range())) {
                found(entries);
            }
        };
        if !self.whole.is_empty() {
            all(self.whole.get(&self.hash.hash_one(name)));
        }
        for bytes in &self.starts.bytes {
            let start = name.get(..*bytes);
            all(start.and_then(|start| self.starts.texts.get(&self.hash.hash_one(start))));
        }
        for bytes in &self.ends.bytes {
            let end = name.len().checked_sub(*bytes);
            let end = end.and_then(|start| name.get(start..));
            all(end.and_then(|end| self.ends.texts.get(&self.hash.hash_one(end))));
        }
        if let Some(inside) = &self.inside {
            let found = inside.texts.find_overlapping_iter(name);
            let mut texts: Vec<_> = found.map(|text| text.pattern().as_usize()).collect();
            // A text may be in the name many times.
            texts.sort_unstable();
            texts.dedup();
            for text in texts {
                all(inside.spans.get(text));
            }
        }
    }
}

/// Entries that are to be found by the texts that their globs ask for.
#[derive(Default)]
pub(super) struct NamesBuilder {
    hash: RandomState,
    whole: Keyed,
    starts: Keyed,
    ends: Keyed,
    inside: BTreeMap<String, Vec<Entry>>,
}

impl NamesBuilder {
    pub(super) fn add(&mut self, globs: &[Glob], entry: Entry) {
        for glob in globs {
            match glob.shape() {
                Shape::Whole(text) => self.whole.add(&self.hash, text, entry),
                Shape::Start(text) => self.starts.add(&self.hash, text, entry),
                Shape::End(text) => self.ends.add(&self.hash, &text, entry),
                Shape::Inside(text) => {
                    let entries = self.inside.entry(text).or_default();
                    // Several globs of a policy may ask for the same text.
                    if entries
                        .last()
                        .is_none_or(|last| last.position != entry.position)
                    {
                        entries.push(entry);
                    }
                }
            }
        }
    }

    pub(super) fn build(mut self) -> Names {
        let mut entries = Vec::new();
        let mut inside = None;
        if !self.inside.is_empty() {
            let texts = AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(self.inside.keys());
            let of_texts = std::mem::take(&mut self.inside).into_values();
            if let Ok(texts) = texts {
                let spans = of_texts.map(|of_text| lay_out(of_text.into_iter(), &mut entries));
                inside = Some(Inside {
                    spans: spans.collect(),
                    texts,
                });
            } else {
                // Far more texts than policies may be stored: each could be in any name.
                for entry in of_texts.flatten() {
                    self.starts.add(&self.hash, "", entry);
                }
            }
        }
        Names {
            whole: self.whole.lay_out(&mut entries).texts,
            starts: self.starts.lay_out(&mut entries),
            ends: self.ends.lay_out(&mut entries),
            inside,
            hash: self.hash,
            entries: entries.into(),
        }
    }
}

/// Entries by the hash of a text: the number of each hash, and the entries beside those numbers.
#[derive(Default)]
struct Keyed {
    numbers: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    entries: Vec<(usize, Entry)>,
    bytes: BTreeSet<usize>,
}

impl Keyed {
    fn add(&mut self, hash: &RandomState, text: &str, entry: Entry) {
        let next = self.numbers.len();
        let number = *self.numbers.entry(hash.hash_one(text)).or_insert(next);
        self.entries.push((number, entry));
        self.bytes.insert(text.len());
    }

    fn lay_out(mut self, all: &mut Vec<Entry>) -> Affixes {
        // Stable: the entries of a text stay in the order of their positions.
        self.entries.sort_by_key(|(number, _)| *number);
        // Several globs of a policy may ask for the same text.
        self.entries
            .dedup_by_key(|(number, entry)| (*number, entry.position));
        let mut spans = Vec::with_capacity(self.numbers.len());
        for of_text in self.entries.chunk_by(|(one, _), (other, _)| one == other) {
            let entries = of_text.iter().map(|(_, entry)| *entry);
            spans.push(lay_out(entries, all));
        }
        let span = |number: usize| spans.get(number).copied().unwrap_or_default();
        let texts = self.numbers.into_iter();
        Affixes {
            texts: texts.map(|(hash, number)| (hash, span(number))).collect(),
            bytes: self.bytes.into_iter().collect(),
        }
    }
}

/// Puts the entries of a text behind `all`.
fn lay_out(entries: impl Iterator<Item = Entry>, all: &mut Vec<Entry>) -> Span {
    let here = |all: &Vec<Entry>| u32::try_from(all.len()).unwrap_or(u32::MAX);
    let start = here(all);
    all.extend(entries);
    let end = here(all);
    Span { start, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However often a text is in the name, and however many of its globs ask for it.
    #[test]
    fn an_entry_is_found_once_for_each_text() {
        let globs: Vec<_> = ["*a*z", "*a?*z", "?a*b*", "x*", "x*y", "*q", "?*q"]
            .into_iter()
            .map(|glob| Glob::new(glob).unwrap())
            .collect();
        let mut builder = NamesBuilder::default();
        for position in 0..3 {
            builder.add(&globs, Entry::at(position));
        }
        let names = builder.build();
        for (name, times) in [("aaaaaaaaaaaaaaaa", 1), ("xxxxaaaaq", 3), ("bbb", 0)] {
            let mut found = Vec::new();
            names.find(name, &mut |entries| {
                found.extend(entries.iter().map(|entry| entry.position));
            });
            found.sort_unstable();
            let expected: Vec<_> = (0..3).flat_map(|n| vec![n; times]).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
