//! Which answers the tests of one text can have together: none starts with `a` and with `b`, and
//! what starts with `ab` contains `b`.

use super::super::lowered::TextTest;

/// So many ways to answer all tests are looked at.
const WAYS_MAX: usize = 64;

/// A test, and the text that it is made with.
pub(super) type Asked<'n> = (TextTest, &'n str);

/// The ways in which a text may answer these tests, the answer to each in its bit; none where
/// there are too many. Those that no text has are left out as far as two tests at a time tell.
pub(super) fn ways(tests: &[Asked<'_>]) -> Option<Vec<u64>> {
    let mut ways = vec![0_u64];
    for (index, test) in tests.iter().enumerate() {
        let bit = 1_u64.checked_shl(u32::try_from(index).ok()?)?;
        let mut longer = Vec::new();
        for way in &ways {
            let fits = |holds: bool| {
                let mut before = tests.iter().take(index).enumerate();
                (holds || !test.1.is_empty())
                    && before.all(|(at, other)| go_together(other, way >> at & 1 == 1, test, holds))
            };
            longer.extend(fits(false).then_some(*way));
            longer.extend(fits(true).then_some(way | bit));
        }
        if longer.len() > WAYS_MAX {
            return None;
        }
        ways = longer;
    }
    Some(ways)
}

fn go_together(one: &Asked<'_>, one_holds: bool, two: &Asked<'_>, two_holds: bool) -> bool {
    match (one_holds, two_holds) {
        (true, true) => !exclude(one, two),
        (true, false) => !implies(one, two),
        (false, true) => !implies(two, one),
        (false, false) => true,
    }
}

/// Whether all text that answers the one answers the other.
fn implies((how, text): &Asked<'_>, (other, part): &Asked<'_>) -> bool {
    (how == other || *other == TextTest::Contains) && other.holds_for(text, part)
}

/// Whether no text answers both.
fn exclude((how, text): &Asked<'_>, (other, with): &Asked<'_>) -> bool {
    how == other
        && *how != TextTest::Contains
        && !how.holds_for(text, with)
        && !how.holds_for(with, text)
}
