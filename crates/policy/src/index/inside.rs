//! Entries by a text that names have in them: one search for all such texts at once.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use smallvec::{SmallVec, smallvec};

use super::{IndexEntry, Range};

/// Entries by texts that names may have in them.
#[derive(Debug)]
pub(super) struct Inside {
    grams: Grams,
    texts: AhoCorasick,
    /// The part of the entries that the text of this number has.
    parts: Box<[Range]>,
    entries: Box<[IndexEntry]>,
}

impl Inside {
    /// None where there are far more texts than may be stored. No text is empty.
    pub(super) fn new(of_texts: &BTreeMap<String, Vec<IndexEntry>>) -> Option<Self> {
        let texts = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(of_texts.keys())
            .ok()?;
        let mut entries = Vec::new();
        let parts = of_texts.values().map(|of_text| {
            let start = entries.len();
            entries.extend_from_slice(of_text);
            Range::new(start, entries.len())
        });
        Some(Self {
            grams: Grams::new(of_texts.keys()),
            texts,
            parts: parts.collect(),
            entries: entries.into(),
        })
    }

    /// Calls `found` with the entries of each text that is in `name`, once.
    pub(super) fn find(&self, name: &str, found: &mut impl FnMut(IndexEntry)) {
        if !self.grams.may_be_in(name) {
            return;
        }
        let texts = self.texts.find_overlapping_iter(name);
        let mut texts: Vec<_> = texts.map(|text| text.pattern().as_usize()).collect();
        // A text may be in the name many times.
        texts.sort_unstable();
        texts.dedup();
        for text in texts {
            let part = self.parts.get(text).copied().unwrap_or_default();
            part.of(&self.entries).iter().copied().for_each(&mut *found);
        }
    }
}

/// Parts of texts of a few bytes, as a set of bits that tells of most names that no text is in
/// there: a few steps a name, where the search takes ten a byte.
///
/// Of each text the first `stride` parts are in the set, and a text takes up that many places in a
/// name: one of every `stride`th place of the name is among them.
#[derive(Debug)]
struct Grams {
    bytes: usize,
    stride: usize,
    bits: SmallVec<[u64; 16]>,
}

/// At most this many bytes of a text make up its parts; fewer, where the shortest text is shorter.
const GRAM_BYTES: usize = 4;
/// A set has a word for two parts, so that few names hit a bit by chance, but not more words.
const WORDS_MAX: usize = 8_192;

impl Grams {
    fn new<'t>(texts: impl ExactSizeIterator<Item = &'t String> + Clone) -> Self {
        let shortest = texts.clone().map(String::len).min().unwrap_or(1);
        let bytes = shortest.clamp(1, GRAM_BYTES);
        let stride = (shortest + 1).saturating_sub(bytes).max(1);
        let words = (texts.len().saturating_mul(stride) / 2).min(WORDS_MAX);
        let mut grams = Self {
            bytes,
            stride,
            bits: smallvec![0; words.next_power_of_two()],
        };
        for text in texts {
            for part in text.as_bytes().windows(bytes).take(stride) {
                let (word, bit) = grams.place(part);
                if let Some(word) = grams.bits.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        grams
    }

    /// Whether a text may be in the name; false positives are possible.
    fn may_be_in(&self, name: &str) -> bool {
        let mut parts = name.as_bytes().windows(self.bytes).step_by(self.stride);
        parts.any(|part| {
            let (word, bit) = self.place(part);
            self.bits.get(word).is_some_and(|word| word & bit != 0)
        })
    }

    /// The word and the bit in it that stand for a part: the upper bits of a product are mixed best.
    fn place(&self, part: &[u8]) -> (usize, u64) {
        let number = match part {
            [a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]),
            fewer => fewer
                .iter()
                .fold(0, |number, byte| number << 8 | u32::from(*byte)),
        };
        let mixed = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let word = usize::try_from(mixed >> 32).unwrap_or(0) & (self.bits.len() - 1);
        (word, 1 << (mixed >> 58))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Words;

    fn inside(texts: &[&str]) -> Inside {
        let of_texts = (0..).zip(texts).map(|(position, text)| {
            let entry = IndexEntry {
                position,
                words: Words::default(),
            };
            ((*text).to_owned(), vec![entry; 2])
        });
        Inside::new(&of_texts.collect()).unwrap()
    }

    /// Also where a text is in the name many times.
    #[test]
    fn the_entries_of_every_text_in_a_name_are_found_once() {
        let names = [
            "",
            "a",
            "aaaa-live1-aaaa",
            "live",
            "-live1-live2-",
            "übü",
            "-live",
            "zzzz",
        ];
        for texts in [
            &["-live1-", "-live2-", "aaaa"][..],
            &["a", "live", "zz"],
            &["ü", "bü", "e1"],
            &["-live1-live2-"],
            &["-live1-live2-", "live1-live2"],
        ] {
            let inside = inside(texts);
            for name in names {
                let mut found = Vec::new();
                inside.find(name, &mut |entry: IndexEntry| found.push(entry.position));
                found.sort_unstable();
                let expected: Vec<_> = (0..)
                    .zip(texts)
                    .filter(|(_, text)| name.contains(**text))
                    .flat_map(|(position, _)| [position; 2])
                    .collect();
                assert_eq!(found, expected, "{texts:?} in {name}");
            }
        }
    }

    /// Its purpose: names that have no part of any text are ruled out at once.
    #[test]
    fn most_names_without_a_text_do_not_look_as_if_they_had_one() {
        let inside = inside(&["-live1-", "-live2-", "-stage-"]);
        let names = (0..1_000).map(|n| format!("class-{}-room", n * 7_919));
        let looked = names.filter(|name| inside.grams.may_be_in(name)).count();
        assert!(looked < 500, "{looked}");
    }
}
