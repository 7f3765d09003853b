//! An index is made from policies.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::inside::Inside;
use super::{
    Anchor, Attributes, Bytes, Hashed, Index, IndexEntry, Lookup, Name, OfText, Range, SOURCES,
    Texts, Words, hash_of_attribute, hash_of_name,
};
use crate::compile::{Attribute, CompiledPolicy};
use crate::glob::{Glob, Shape};

impl Index {
    /// An index of `policies`, which stand at the positions that it answers. `hash` is the set's.
    pub(crate) fn new<'p>(
        policies: impl Iterator<Item = &'p CompiledPolicy>,
        hash: &RandomState,
    ) -> Self {
        let mut builder = Builder {
            hash: hash.clone(),
            lookups: BTreeMap::new(),
            names: Keyed::default(),
            inside: BTreeMap::new(),
            attributes: Keyed::default(),
            all_by_attributes: Vec::new(),
            sources: Default::default(),
        };
        for (position, policy) in (0_u32..).zip(policies) {
            builder.add(position, policy);
        }
        builder.build()
    }
}

struct Builder {
    hash: RandomState,
    lookups: BTreeMap<(Name, Anchor, u32), (Bytes, Bytes)>,
    names: Keyed,
    inside: BTreeMap<Name, BTreeMap<String, Vec<IndexEntry>>>,
    attributes: Keyed,
    all_by_attributes: Vec<IndexEntry>,
    sources: [Vec<IndexEntry>; SOURCES],
}

impl Builder {
    fn add(&mut self, position: u32, policy: &CompiledPolicy) {
        let condition = &policy.match_;
        let entry = IndexEntry {
            position,
            words: Words {
                source: condition.source,
                type_: condition.type_,
                kind: condition.kind,
            },
        };
        // By the fewest values: it stands under each of them.
        let attribute = condition
            .attributes
            .iter()
            .min_by_key(|of| of.allowed.len());
        if !condition.room.is_empty() {
            self.add_globs(Name::Room, &condition.room, entry);
        } else if !condition.identity.is_empty() {
            self.add_globs(Name::Identity, &condition.identity, entry);
        } else if let Some(Attribute { key, allowed }) = attribute {
            for value in allowed {
                let hash = hash_of_attribute(&self.hash, key, value);
                self.attributes.add(hash, entry);
            }
            self.all_by_attributes.push(entry);
        } else {
            for (place, of_source) in self.sources.iter_mut().enumerate() {
                if condition.source >> place & 1 != 0 {
                    of_source.push(entry);
                }
            }
        }
    }

    fn add_globs(&mut self, name: Name, globs: &[Glob], entry: IndexEntry) {
        for glob in globs {
            match glob.shape() {
                Shape::Whole(text) => self.add_text(name, Anchor::Whole, text, entry),
                Shape::Start(text) => self.add_text(name, Anchor::Start, text, entry),
                Shape::End(text) => self.add_text(name, Anchor::End, &text, entry),
                Shape::Inside(text) => {
                    let texts = self.inside.entry(name).or_default();
                    let entries = texts.entry(text).or_default();
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

    fn add_text(&mut self, name: Name, place: Anchor, text: &str, entry: IndexEntry) {
        let bytes = match place {
            // Whatever its length, it is looked up by all of it.
            Anchor::Whole => 0,
            Anchor::Start | Anchor::End => u32::try_from(text.len()).unwrap_or(u32::MAX),
        };
        let (first, last) = self.lookups.entry((name, place, bytes)).or_default();
        first.add(text.bytes().next());
        last.add(text.bytes().next_back());
        let hash = hash_of_name(&self.hash, name, place, text);
        self.names.add(hash, entry);
    }

    fn build(mut self) -> Index {
        let mut inside = SmallVec::new();
        for (name, of_texts) in std::mem::take(&mut self.inside) {
            if let Some(texts) = Inside::new(&of_texts) {
                inside.push((name, texts));
                continue;
            }
            // Far more texts than policies may be stored: each could be in any name.
            for entry in of_texts.into_values().flatten() {
                self.add_text(name, Anchor::Start, "", entry);
            }
        }
        let words = self.all_by_attributes.iter().map(|entry| entry.words);
        Index {
            lookups: self.lookups.into_iter().map(look).collect(),
            texts: self.names.lay_out(),
            inside,
            attributes: Attributes {
                texts: self.attributes.lay_out(),
                words: words.fold(Words::default(), Words::or),
                all: self.all_by_attributes.into(),
            },
            sources: self.sources.map(Vec::into_boxed_slice),
        }
    }
}

fn look(((name, place, bytes), (first, last)): ((Name, Anchor, u32), (Bytes, Bytes))) -> Lookup {
    Lookup {
        name,
        place,
        bytes,
        first,
        last,
    }
}

/// Entries by a hash: the number of each hash, and the entries beside those numbers.
#[derive(Default)]
struct Keyed {
    numbers: HashMap<u32, usize, BuildHasherDefault<Hashed>>,
    entries: Vec<(usize, IndexEntry)>,
}

impl Keyed {
    fn add(&mut self, hash: u32, entry: IndexEntry) {
        let next = self.numbers.len();
        let number = *self.numbers.entry(hash).or_insert(next);
        self.entries.push((number, entry));
    }

    fn lay_out(mut self) -> Texts {
        // Stable: the entries of a text stay in the order of their positions.
        self.entries.sort_by_key(|(number, _)| *number);
        // Several globs of a policy may ask for the same text.
        self.entries
            .dedup_by_key(|(number, entry)| (*number, entry.position));
        let mut of_texts = Vec::with_capacity(self.numbers.len());
        let (mut shared, mut parts) = (Vec::new(), Vec::new());
        for of_text in self.entries.chunk_by(|(one, _), (other, _)| one == other) {
            of_texts.push(if let [(_, IndexEntry { position, words })] = of_text {
                OfText::One {
                    position: *position,
                    words: *words,
                }
            } else {
                let start = shared.len();
                shared.extend(of_text.iter().map(|(_, entry)| *entry));
                parts.push(Range::new(start, shared.len()));
                OfText::Several(u32::try_from(parts.len() - 1).unwrap_or(u32::MAX))
            });
        }
        let of_hash = |(hash, number): (u32, usize)| Some((hash, *of_texts.get(number)?));
        Texts {
            by_hash: self.numbers.into_iter().filter_map(of_hash).collect(),
            shared: shared.into(),
            parts: parts.into(),
        }
    }
}
