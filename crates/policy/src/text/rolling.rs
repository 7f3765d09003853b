//! Hashes of all windows of one length of a text, each made from two prefixes' in a few steps (Rabin and Karp).

use std::hash::{BuildHasher as _, RandomState};

/// The prime that hashes are taken modulo: 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

/// What hashes are polynomials in. It is random, so that nobody can choose texts that collide: those of two texts
/// of up to 1,000 bytes have the same hash with a probability of at most 2^-51.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base(u64);

impl Base {
    /// `random` is seeded by the operating system.
    pub(super) fn new(random: &RandomState, number: u8) -> Self {
        Self(random.hash_one(number) % (PRIME - 512) + 256)
    }

    /// The hash of a text.
    pub(super) fn hash(self, text: &[u8]) -> u64 {
        text.iter().fold(0, |hash, byte| self.push(hash, *byte))
    }

    /// The hashes of all prefixes, from the empty one to the whole.
    pub(super) fn prefixes(self, text: &[u8]) -> Box<[u64]> {
        let mut hash = 0;
        let each = text.iter().map(|byte| {
            hash = self.push(hash, *byte);
            hash
        });
        std::iter::once(0).chain(each).collect()
    }

    /// What takes the bytes before a window of this length out of a hash.
    pub(super) fn power(self, bytes: usize) -> u64 {
        (0..bytes).fold(1, |power, _| times(power, self.0))
    }

    fn push(self, hash: u64, byte: u8) -> u64 {
        let sum = times(hash, self.0) + u64::from(byte) + 1;
        sum.checked_sub(PRIME).unwrap_or(sum)
    }
}

/// The hash of what lies between two prefixes; `power` is that of its length.
pub(super) fn between(start: u64, end: u64, power: u64) -> u64 {
    let taken_out = times(start, power);
    let (difference, is_below) = end.overflowing_sub(taken_out);
    if is_below {
        difference.wrapping_add(PRIME)
    } else {
        difference
    }
}

/// The product of two numbers below the prime, modulo that.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "the parts have at most 61 bits"
)]
fn times(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    let sum = (product as u64 & PRIME) + (product >> 61) as u64;
    if sum >= PRIME { sum - PRIME } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_hash_is_that_of_its_text() {
        let random = RandomState::new();
        for number in 0..8 {
            let base = Base::new(&random, number);
            let text = b"a text, and \xff\x00\x00 another text".repeat(5);
            let prefixes = base.prefixes(&text);
            for bytes in [1, 2, 3, 16, 64, 100, text.len()] {
                let power = base.power(bytes);
                for (at, window) in text.windows(bytes).enumerate() {
                    let hash = between(prefixes[at], prefixes[at + bytes], power);
                    assert_eq!(hash, base.hash(window), "{bytes} at {at}");
                }
            }
        }
        assert_eq!(times(PRIME - 1, PRIME - 1), 1);
    }
}
