//! The literals that an owner's policies look for with `contains`, by the fact and by their length.

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;

use super::TextFact;
use super::rolling::{Base, between};

/// All needles of an owner's live policies. Those of one length in one fact are found together.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    /// Where each literal stands, by its address: the policies hold it for as long as these are asked.
    places: HashMap<usize, Place, foldhash::fast::RandomState>,
    groups: Box<[Group]>,
    bases: Option<[Base; 2]>,
}

/// A needle: its group, and its number there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) group: u32,
    number: u32,
}

/// The distinct needles of one length in one fact.
#[derive(Debug)]
enum Group {
    One(Box<str>),
    Several(Box<HashedNeedles>),
}

/// Hashes of needles of one length.
#[derive(Debug)]
struct HashedNeedles {
    bytes: usize,
    powers: [u64; 2],
    /// Some bits of each hash: most windows are ruled out by them.
    filter: Box<[u64]>,
    /// The needles' numbers and hashes, each at its hash's place or in one of the next.
    slots: Box<[Option<Slot>]>,
    /// The second hash of each needle.
    checks: Box<[u64]>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u64,
    number: u32,
}

/// The hashes of a text's prefixes. The second is only needed where the first is a needle's.
#[derive(Debug, Default)]
pub(super) struct Prefixes([Option<Box<[u64]>>; 2]);

/// Which needles of a group are in a text.
#[derive(Debug)]
pub(super) struct Found(Box<[u64]>);

impl Found {
    pub(super) fn has(&self, place: Place) -> bool {
        self.has_number(place.number)
    }

    fn has_number(&self, number: u32) -> bool {
        let word = self.0.get(index(number / 64));
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    fn add(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(index(number / 64)) {
            *word |= 1 << (number % 64);
        }
    }
}

impl Needles {
    /// Of the literals that are looked for in each fact; none is empty.
    pub(crate) fn new<'t>(literals: impl IntoIterator<Item = (TextFact, &'t str)>) -> Self {
        let mut by_length: BTreeMap<(TextFact, usize), Vec<&'t str>> = BTreeMap::new();
        for (fact, literal) in literals {
            by_length
                .entry((fact, literal.len()))
                .or_default()
                .push(literal);
        }
        if by_length.is_empty() {
            return Self::default();
        }
        let random = RandomState::new();
        let bases = [Base::new(&random, 0), Base::new(&random, 1)];
        let mut places = HashMap::default();
        let mut groups = Vec::with_capacity(by_length.len());
        for ((_, bytes), literals) in by_length {
            let mut numbers: HashMap<&str, u32, foldhash::fast::RandomState> = HashMap::default();
            for literal in literals {
                let next = count(numbers.len());
                let number = *numbers.entry(literal).or_insert(next);
                let place = Place {
                    group: count(groups.len()),
                    number,
                };
                places.insert(literal.as_ptr().addr(), place);
            }
            groups.push(Group::new(bytes, &numbers, bases));
        }
        places.shrink_to_fit();
        Self {
            places,
            groups: groups.into(),
            bases: Some(bases),
        }
    }

    /// The place of this very literal.
    pub(super) fn find(&self, literal: &str) -> Option<Place> {
        self.places.get(&literal.as_ptr().addr()).copied()
    }

    /// Which needles of a group are in the text: one pass over it.
    pub(super) fn pass(&self, group: u32, text: &str, prefixes: &mut Prefixes) -> Found {
        match (self.groups.get(index(group)), self.bases) {
            (Some(Group::One(needle)), _) => Found(Box::new([u64::from(text.contains(&**needle))])),
            (Some(Group::Several(needles)), Some(bases)) => {
                needles.pass(text.as_bytes(), bases, prefixes)
            }
            (None, _) | (_, None) => Found(Box::default()),
        }
    }
}

impl Group {
    fn new<S>(bytes: usize, numbers: &HashMap<&str, u32, S>, bases: [Base; 2]) -> Self {
        let mut needles = numbers.iter();
        match (needles.next(), numbers.len()) {
            (Some((only, _)), 1) => Self::One((*only).into()),
            _ => Self::Several(Box::new(HashedNeedles::new(bytes, numbers, bases))),
        }
    }
}

impl HashedNeedles {
    fn new<S>(bytes: usize, numbers: &HashMap<&str, u32, S>, [first, second]: [Base; 2]) -> Self {
        let slots = (numbers.len() * 2).next_power_of_two();
        let words = (numbers.len() / 4).next_power_of_two();
        let mut needles = Self {
            bytes,
            powers: [first.power(bytes), second.power(bytes)],
            filter: vec![0; words].into(),
            slots: vec![None; slots].into(),
            checks: vec![0; numbers.len()].into(),
        };
        for (needle, number) in numbers {
            let hash = first.hash(needle.as_bytes());
            let (word, bit) = needles.bit(hash);
            if let Some(word) = needles.filter.get_mut(word) {
                *word |= bit;
            }
            let number = *number;
            if let Some(check) = needles.checks.get_mut(index(number)) {
                *check = second.hash(needle.as_bytes());
            }
            let mut place = needles.place(hash);
            while let Some(Some(_)) = needles.slots.get(place) {
                place = needles.after(place);
            }
            if let Some(slot) = needles.slots.get_mut(place) {
                *slot = Some(Slot { hash, number });
            }
        }
        needles
    }

    fn pass(&self, text: &[u8], bases: [Base; 2], prefixes: &mut Prefixes) -> Found {
        let mut found = Found(vec![0; self.checks.len().div_ceil(64)].into());
        let Prefixes([first, second]) = prefixes;
        let first = first.get_or_insert_with(|| bases[0].prefixes(text));
        let ends = first.get(self.bytes..).unwrap_or_default();
        let windows = first.iter().zip(ends).map(|(start, end)| (*start, *end));
        let power = self.powers[0];
        let mut left = self.checks.len();
        for (at, (start, end)) in windows.enumerate() {
            let hash = between(start, end, power);
            if !self.may_have(hash) {
                continue;
            }
            let Some(number) = self
                .number(hash)
                .filter(|number| !found.has_number(*number))
            else {
                continue;
            };
            // A second hash rather than the bytes: a thousand needles may stand at every place of a text.
            let second = second.get_or_insert_with(|| bases[1].prefixes(text));
            let (Some(start), Some(end)) = (second.get(at), second.get(at + self.bytes)) else {
                continue;
            };
            let check = between(*start, *end, self.powers[1]);
            if self.checks.get(index(number)) == Some(&check) {
                found.add(number);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        found
    }

    fn bit(&self, hash: u64) -> (usize, u64) {
        let word = index(hash >> 6) & (self.filter.len() - 1);
        (word, 1 << (hash & 63))
    }

    fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = self.bit(hash);
        self.filter.get(word).is_some_and(|word| word & bit != 0)
    }

    fn number(&self, hash: u64) -> Option<u32> {
        let mut place = self.place(hash);
        while let Some(Some(slot)) = self.slots.get(place) {
            if slot.hash == hash {
                return Some(slot.number);
            }
            place = self.after(place);
        }
        None
    }

    fn place(&self, hash: u64) -> usize {
        index(hash >> 30) & (self.slots.len() - 1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }
}

fn index(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
