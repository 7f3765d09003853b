//! Which facts something reads that a webhook does not hold, as a set.

use super::facts::Facts;
use super::facts::catalog::FIELDS;

/// A set of facts that may be unknown: one bit for each row of the catalog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reads(u64);

const _: () = assert!(FIELDS.len() <= 64, "a bit for each fact");

impl Reads {
    /// The fact of this name; nothing where a webhook always holds it.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let place = FIELDS
            .iter()
            .position(|field| field.name == name && field.may_be_unknown());
        Self(place.map_or(0, |place| 1 << place))
    }

    /// What could not be had of these facts.
    #[must_use]
    pub fn unknown_in(facts: &Facts) -> Self {
        let places = FIELDS.iter().enumerate();
        let unknown = places.filter(|(_, field)| field.is_unknown(facts));
        Self(unknown.fold(0, |set, (place, _)| set | 1 << place))
    }

    /// What either reads.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both read.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, in the order of the catalog.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let places = FIELDS.iter().enumerate();
        let read = places.filter(|(place, _)| self.0 & 1 << place != 0);
        read.map(|(_, field)| field.name).collect()
    }
}
