//! The rules and events that are measured: what a large deployment could look like.
//!
//! Of a hundred rules, 70 are about one room, 15 about rooms that start with a text, 10 about one
//! identity, 3 about rooms by another glob, and 2 about phone callers of a region, in any room. All
//! are about sound, half of them about microphones only. A third exempts hosts and moderators, a fifth
//! has a condition (`when`), a tenth is in force by the clock (`active`) and 4 % in the first minutes
//! of a room only. A tenth exempts instead of muting; 5 % are in dry run, 3 % off. What a rule has
//! beside its place is drawn at random, always the same.
//!
//! Six events of ten happen where some rule is about, evenly over all rules; the others in rooms that
//! none names.

mod event;
mod rule;

pub use event::{Event, events};
pub use rule::{Effect, HOURS, Hours, Mode, Place, Rule, When, rules};

use chrono::{DateTime, Utc};

/// When everything is decided: Monday, 23 November 2026, 12:00 UTC.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_435_200, 0).unwrap()
}

/// The `n`th number of a row of random ones; another row for each `salt`.
fn random(n: usize, salt: u64) -> u64 {
    let mut x = (n as u64 ^ salt << 48).wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// Whether the `n`th number is among the first `percent` of a hundred.
fn chance(n: usize, salt: u64, percent: u64) -> bool {
    random(n, salt) % 100 < percent
}
