//! Reads the texts of one decision for one owner: little of them directly, and more in passes that all policies share.
//!
//! What was found is known by where the text lies: facts stay where they are while they are asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use super::needles::{Found, Needles, Place, Prefixes};

/// A text that is not longer is read as often as it is asked for: to remember what was found takes as long.
const SHORT_BYTES: usize = 64;
/// The same of two texts that are compared, and of a text that is counted: no literal is longer.
const COMPARED_BYTES: usize = 1 << 10;
/// So much is read directly before passes are made: most decisions read less.
const DIRECT_BYTES: u64 = 64 << 10;

/// How much of texts may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextLimit {
    /// All of them.
    Unlimited,
    /// At most this.
    Bytes(u64),
}

/// Reads texts, and counts what it reads. Nothing is allocated before much was read.
#[derive(Debug)]
pub(crate) struct TextReader<'n> {
    needles: Option<&'n Needles>,
    limit: u64,
    read: u64,
    exceeded: bool,
    known: Option<Box<Known>>,
}

/// Where a text lies, and its length.
type At = (usize, usize);

/// What is known of texts.
#[derive(Debug, Default)]
struct Known {
    found: HashMap<(At, u32), Found, RandomState>,
    prefixes: HashMap<At, Prefixes, RandomState>,
    chars: HashMap<At, usize, RandomState>,
    pairs: HashMap<(At, At, PairTest), bool, RandomState>,
}

/// A test of two texts that reads them whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PairTest {
    Equals,
    IsLess,
    StartsWith,
    EndsWith,
    Contains,
}

impl PairTest {
    fn holds_for(self, one: &str, other: &str) -> bool {
        match self {
            Self::Equals => one == other,
            Self::IsLess => one < other,
            Self::StartsWith => one.starts_with(other),
            Self::EndsWith => one.ends_with(other),
            Self::Contains => one.contains(other),
        }
    }
}

/// Reads all, and looks for every needle by itself.
impl Default for TextReader<'_> {
    fn default() -> Self {
        Self::without_needles(TextLimit::Unlimited)
    }
}

impl<'n> TextReader<'n> {
    /// `needles` are those of all policies that are asked with it.
    pub(crate) fn new(needles: &'n Needles, limit: TextLimit) -> Self {
        Self {
            needles: Some(needles),
            ..TextReader::without_needles(limit)
        }
    }

    /// Every needle is looked for by itself.
    pub(crate) fn without_needles(limit: TextLimit) -> Self {
        Self {
            needles: None,
            limit: match limit {
                TextLimit::Unlimited => u64::MAX,
                TextLimit::Bytes(bytes) => bytes,
            },
            read: 0,
            exceeded: false,
            known: None,
        }
    }

    /// Whether something was not read, as it was more than the limit.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    /// What was read.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read
    }

    /// Whether `with` is in the text; none: that would be more than may be read.
    pub(crate) fn contains(&mut self, text: &str, with: &str) -> Option<bool> {
        if text.len() <= SHORT_BYTES || with.is_empty() || with.len() > text.len() {
            return Some(text.contains(with));
        }
        self.contains_long(text, with)
    }

    #[inline(never)]
    fn contains_long(&mut self, text: &str, with: &str) -> Option<bool> {
        if self.reads_directly(text) {
            return Some(text.contains(with));
        }
        match self.needles.and_then(|needles| needles.find(with)) {
            Some(place) => self.pass(text, place),
            None => self.compare(PairTest::Contains, text, with),
        }
    }

    /// Whether a test of two texts holds, of which the first may be a literal, or the second.
    pub(crate) fn compare(&mut self, test: PairTest, one: &str, other: &str) -> Option<bool> {
        let bytes = match test {
            PairTest::Contains => one.len(),
            PairTest::Equals if one.len() != other.len() => 0,
            PairTest::Equals | PairTest::IsLess | PairTest::StartsWith | PairTest::EndsWith => {
                one.len().min(other.len())
            }
        };
        if bytes <= COMPARED_BYTES {
            return Some(test.holds_for(one, other));
        }
        let key = (at(one), at(other), test);
        if let Some(known) = self.known().pairs.get(&key) {
            return Some(*known);
        }
        self.pay(bytes)?;
        let holds = test.holds_for(one, other);
        self.known().pairs.insert(key, holds);
        Some(holds)
    }

    /// How many characters it has.
    pub(crate) fn chars(&mut self, text: &str) -> Option<usize> {
        if text.len() <= COMPARED_BYTES {
            return Some(text.chars().count());
        }
        if let Some(chars) = self.known().chars.get(&at(text)) {
            return Some(*chars);
        }
        self.pay(text.len())?;
        let chars = text.chars().count();
        self.known().chars.insert(at(text), chars);
        Some(chars)
    }

    fn pass(&mut self, text: &str, place: Place) -> Option<bool> {
        let key = (at(text), place.group);
        if let Some(found) = self.known().found.get(&key) {
            return Some(found.has(place));
        }
        self.pay(text.len())?;
        let needles = self.needles?;
        let known = self.known();
        let prefixes = match known.prefixes.entry(at(text)) {
            Entry::Occupied(prefixes) => prefixes.into_mut(),
            Entry::Vacant(none) => none.insert(Prefixes::default()),
        };
        let found = needles.pass(place.group, text, prefixes);
        let holds = found.has(place);
        known.found.insert(key, found);
        Some(holds)
    }

    fn known(&mut self) -> &mut Known {
        self.known.get_or_insert_default()
    }

    fn reads_directly(&mut self, text: &str) -> bool {
        let read = self.read.saturating_add(bytes(text.len()));
        let is_little = read <= DIRECT_BYTES.min(self.limit);
        if is_little {
            self.read = read;
        }
        is_little
    }

    fn pay(&mut self, count: usize) -> Option<()> {
        let read = self.read.saturating_add(bytes(count));
        if self.exceeded || read > self.limit {
            self.exceeded = true;
            return None;
        }
        self.read = read;
        Some(())
    }
}

fn at(text: &str) -> At {
    (text.as_ptr().addr(), text.len())
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
