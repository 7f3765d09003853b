//! When a policy is in force: its windows, its first and last instant, and the age of the room.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use super::{Length, State, Window, state};
use crate::facts::{Fact, Facts};
use crate::reads::Reads;
use crate::tri::Tri;

/// Before the next change to one side lie at most `not_before`, a window's start and its end.
const BOUNDARIES_MAX: usize = 4;

/// The limits in time of one policy; without any it is always in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    active: Vec<Window>,
    not_before: Option<DateTime<Utc>>,
    not_after: Option<DateTime<Utc>>,
    first: Option<Length>,
}

/// The first clause of a schedule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "clause", rename_all = "snake_case")]
pub enum Unmet {
    /// Its time is to come.
    NotBefore {
        /// When.
        begins: DateTime<Utc>,
    },
    /// Its time is over.
    NotAfter {
        /// Since when.
        ended: DateTime<Utc>,
    },
    /// None of its windows is open.
    Active {
        /// When the last of them closed.
        closed: Option<DateTime<Utc>>,
        /// When the next of them opens.
        opens: Option<DateTime<Utc>>,
    },
    /// The room is older than the policy is about.
    First {
        /// What it is about.
        first: Length,
        /// How long ago the room was made, in seconds; none where that could not be had.
        room_age_seconds: Option<i64>,
    },
}

impl Schedule {
    /// Open in any of these windows, from `not_before` until right before `not_after`, for `first`
    /// from the making of a room.
    #[must_use]
    pub fn new(
        active: Vec<Window>,
        not_before: Option<DateTime<Utc>>,
        not_after: Option<DateTime<Utc>>,
        first: Option<Length>,
    ) -> Self {
        Self {
            active,
            not_before,
            not_after,
            first,
        }
    }

    /// Whether it has no limits.
    #[must_use]
    pub fn is_always(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the policy is in force for this room at this time.
    #[must_use]
    pub fn holds(&self, facts: &Facts, now: DateTime<Utc>) -> Tri {
        Tri::from(self.is_in_time(now)).and_then(|| self.first_holds(facts, now))
    }

    /// Whether the policy is in force at this time, in rooms of any age.
    #[must_use]
    pub fn is_in_time(&self, now: DateTime<Utc>) -> bool {
        self.not_before.is_none_or(|begins| begins <= now)
            && self.not_after.is_none_or(|ends| now < ends)
            && (self.active.is_empty() || self.active.iter().any(|window| window.is_open(now)))
    }

    /// The first instant after `now` at which it comes into force (`true`) or goes out of force (`false`), in
    /// rooms of any age; or an earlier one, where windows take turns and the first would take long to find. None:
    /// there is none.
    #[must_use]
    pub fn next_change(&self, now: DateTime<Utc>, to: bool) -> Option<DateTime<Utc>> {
        let mut at = now;
        for _ in 0..BOUNDARIES_MAX {
            let before = self.is_in_time(at);
            at = self.next_boundary(at)?;
            if before != to && self.is_in_time(at) == to {
                return Some(at);
            }
        }
        Some(at)
    }

    /// For how long from the making of a room it is in force there.
    #[must_use]
    pub fn first(&self) -> Option<&Length> {
        self.first.as_ref()
    }

    /// The next instant at which any of its limits in time begins or ends.
    fn next_boundary(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if let Some(begins) = self.not_before.filter(|begins| at < *begins) {
            return Some(begins);
        }
        let ends = self.not_after;
        if ends.is_some_and(|ends| ends <= at) {
            return None;
        }
        let turns = state::next_turn(&self.active, at);
        [ends, turns].into_iter().flatten().min()
    }

    /// The facts that it reads, of those that a webhook does not hold.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let first = self.first.as_ref();
        first.map_or(Reads::default(), |_| Reads::named("room.created_at"))
    }

    /// Why it does not hold, or may not: the first clause that fails; none where all hold.
    #[must_use]
    pub fn explain(&self, facts: &Facts, now: DateTime<Utc>) -> Option<Unmet> {
        if let Some(begins) = self.not_before.filter(|begins| now < *begins) {
            return Some(Unmet::NotBefore { begins });
        }
        if let Some(ended) = self.not_after.filter(|ends| *ends <= now) {
            return Some(Unmet::NotAfter { ended });
        }
        if !self.active.is_empty() && !self.active.iter().any(|window| window.is_open(now)) {
            let state = self.windows_at(now);
            return Some(Unmet::Active {
                closed: state.from,
                opens: state.until,
            });
        }
        let first = self.first.clone()?;
        (self.first_holds(facts, now) != Tri::True).then(|| Unmet::First {
            first,
            room_age_seconds: facts
                .room
                .created_at
                .known()
                .map(|created_at| now.timestamp().saturating_sub(*created_at)),
        })
    }

    /// The state of its windows together; of no windows, closed for ever.
    #[must_use]
    pub fn windows_at(&self, now: DateTime<Utc>) -> State {
        state::of(&self.active, now)
    }

    /// Whether it has windows and none of them is open between its first and last instant.
    pub(crate) fn never_opens(&self) -> bool {
        let (Some(begins), Some(ends)) = (self.not_before, self.not_after) else {
            return false;
        };
        let state = self.windows_at(begins);
        !self.active.is_empty() && !state.is_open && state.until.is_none_or(|opens| ends <= opens)
    }

    /// A room that was made in the future, by a clock that is ahead, has begun.
    fn first_holds(&self, facts: &Facts, now: DateTime<Utc>) -> Tri {
        let Some(first) = &self.first else {
            return Tri::True;
        };
        match &facts.room.created_at {
            Fact::Known(created_at) => {
                let ends = created_at.saturating_add(first.delta().num_seconds());
                Tri::from(now.timestamp() < ends)
            }
            Fact::Unknown => Tri::Unknown,
        }
    }
}

impl Unmet {
    /// The key of the policy that it is about.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::NotBefore { .. } => "not_before",
            Self::NotAfter { .. } => "not_after",
            Self::Active { .. } => "active",
            Self::First { .. } => "first",
        }
    }

    /// False, or unknown where a fact could not be had.
    #[must_use]
    pub fn tri(&self) -> Tri {
        match self {
            Self::First {
                room_age_seconds: None,
                ..
            } => Tri::Unknown,
            Self::NotBefore { .. }
            | Self::NotAfter { .. }
            | Self::Active { .. }
            | Self::First { .. } => Tri::False,
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key())?;
        match self {
            Self::NotBefore { begins } => write!(f, "begins at {}", shown(*begins)),
            Self::NotAfter { ended } => write!(f, "ended at {}", shown(*ended)),
            Self::Active { closed, opens } => {
                f.write_str("closed")?;
                if let Some(closed) = closed {
                    write!(f, " since {}", shown(*closed))?;
                }
                match opens {
                    Some(opens) => write!(f, ", opens next at {}", shown(*opens)),
                    None => f.write_str(", and never opens again"),
                }
            }
            Self::First {
                first,
                room_age_seconds: Some(seconds),
            } => {
                let age = Age(TimeDelta::try_seconds(*seconds).unwrap_or(TimeDelta::MAX));
                write!(f, "the room is {age} old, and its first {first} are over")
            }
            Self::First { first, .. } => {
                write!(
                    f,
                    "room.created_at is unknown, and so whether these are its first {first}"
                )
            }
        }
    }
}

fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// In the largest two of days, hours and minutes.
struct Age(TimeDelta);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.num_minutes();
        match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
            (0, 0, minutes) => write!(f, "{minutes}m"),
            (0, hours, minutes) => write!(f, "{hours}h{minutes}m"),
            (days, hours, _) => write!(f, "{days}d{hours}h"),
        }
    }
}
