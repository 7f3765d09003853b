//! Kleene's three values: true, false, and "depends on what is not known".

use std::ops::Not;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A truth that may be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tri {
    /// Holds, whatever the unknown facts are.
    True,
    /// Does not hold, whatever the unknown facts are.
    False,
    /// The unknown facts decide.
    Unknown,
}

impl Tri {
    /// Both: false as soon as one is, unknown only where it is open.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }

    /// `self` and what `other` computes; that is not asked where `self` is false already.
    #[must_use]
    pub fn and_then(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::False => Self::False,
            Self::True | Self::Unknown => self.and(other()),
        }
    }
}

impl Not for Tri {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Tri {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

#[cfg(test)]
mod tests {
    use super::Tri::{self, False, True, Unknown};

    #[test]
    fn and_is_kleenes() {
        for (a, b, both) in [
            (True, True, True),
            (True, False, False),
            (True, Unknown, Unknown),
            (False, False, False),
            (False, Unknown, False),
            (Unknown, Unknown, Unknown),
        ] {
            assert_eq!(a.and(b), both, "{a:?} and {b:?}");
            assert_eq!(b.and(a), both, "{b:?} and {a:?}");
            assert_eq!(a.and_then(|| b), both, "{a:?} and then {b:?}");
        }
        let never = || -> Tri { panic!("asked although the answer is known") };
        assert_eq!(False.and_then(never), False);
    }

    #[test]
    fn not_leaves_the_unknown_unknown() {
        assert_eq!((!True, !False, !Unknown), (False, True, Unknown));
    }
}
