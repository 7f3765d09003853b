//! Exemptions that change nothing, because mutes that they cannot cancel mute the same.
//!
//! Only policies of the same files are compared, not stored ones, and only by the words of their
//! `match`: policies with `when` or limits of time, and exemptions with `unless`, are passed over.

use super::coverage::{any_name, contradicts_itself, covers, covers_name, detail_apart};
use crate::evaluate::outranks;
use crate::glob::Glob;
use crate::policy::{Effect, Match, Mode, Policy};

/// The most pairs of policies that are compared: 10,000 policies may have 25,000,000.
const PAIRS_MAX: usize = 200_000;

/// Why an exemption changes nothing: it does not reach this mute.
pub(crate) enum Why<'p> {
    /// It cancels none; this is the lowest of its owner's.
    Below(&'p Policy),
    /// What it cancels, this mutes all the same.
    MutedBy(&'p Policy),
    /// This is the operator's, which a tenant's exemption does not reach.
    Operators(&'p Policy),
}

impl Why<'_> {
    /// The key that is to be changed, what is wrong, and what to do, for an exemption of a priority.
    pub(crate) fn in_words(&self, exempts: u16) -> (&'static str, String, String) {
        let raise = |priority| format!("give it the priority {priority} or a higher one");
        match self {
            Self::Below(Policy { name, priority, .. }) => (
                "priority",
                format!(
                    "this exemption cancels no mute here: {name} has the priority {priority}, this {exempts}"
                ),
                raise(priority),
            ),
            Self::MutedBy(Policy { name, priority, .. }) => (
                "priority",
                format!(
                    "this exemption exempts nothing here: {name} mutes the same with the priority {priority}, this has {exempts}"
                ),
                raise(priority),
            ),
            Self::Operators(Policy { name, .. }) => (
                "owner",
                format!(
                    "this exemption exempts nothing here: {name} is the operator's, and not `overridable`"
                ),
                format!("write `overridable: true` in {name}, or let the operator exempt"),
            ),
        }
    }
}

/// The exemptions that change nothing, by their places in the list.
pub(crate) fn outranked(policies: &[Policy]) -> Vec<(usize, Why<'_>)> {
    let live = |effect: Effect| {
        let all = policies.iter().enumerate();
        all.filter(move |(_, policy)| policy.effect == effect && policy.mode != Mode::Off)
    };
    let mutes: Vec<_> = live(Effect::Mute).map(|(_, mute)| mute).collect();
    let mut pairs_left = PAIRS_MAX;
    let mut found = Vec::new();
    for (place, exemption) in live(Effect::Exempt) {
        let Some(left) = pairs_left.checked_sub(mutes.len()) else {
            break;
        };
        pairs_left = left;
        if !by_words_alone(exemption) || exemption.unless.is_some() {
            continue;
        }
        let (cancelled, others): (Vec<&Policy>, Vec<_>) =
            mutes.iter().partition(|mute| cancels(exemption, mute));
        let cancelled: Vec<_> = cancelled
            .into_iter()
            .filter(|mute| may_share_a_track(exemption, mute))
            .collect();
        let stay: Vec<_> = others
            .into_iter()
            .filter(|mute| is_above(exemption, mute) && shares_a_track(exemption, mute))
            .collect();
        let Some(left) = pairs_left.checked_sub(cancelled.len().saturating_mul(stay.len())) else {
            break;
        };
        pairs_left = left;
        found.extend(why(exemption, &cancelled, &stay).map(|why| (place, why)));
    }
    found
}

/// What an exemption lacks that cancels these, and about whose tracks those others are.
fn why<'p>(exemption: &Policy, cancelled: &[&'p Policy], stay: &[&'p Policy]) -> Option<Why<'p>> {
    let own = stay.iter().filter(|mute| mute.owner == exemption.owner);
    if cancelled.is_empty() {
        let lowest = own
            .min_by_key(|mute| mute.priority)
            .map(|lowest| Why::Below(lowest));
        return lowest.or_else(|| stay.first().map(|mute| Why::Operators(mute)));
    }
    let mutes_as_well = |mute: &Policy| {
        stay.iter().find(|above| {
            above.mode == Mode::Enforce
                && above.unless.is_none()
                && covers(&above.match_, &mute.match_)
        })
    };
    let mut by = None;
    for mute in cancelled {
        by = Some(*mutes_as_well(mute)?);
    }
    by.map(|mute| {
        if mute.owner == exemption.owner {
            Why::MutedBy(mute)
        } else {
            Why::Operators(mute)
        }
    })
}

/// Whether nothing but `match` and `unless` says what it is about.
fn by_words_alone(policy: &Policy) -> bool {
    policy.when.is_none()
        && policy.active.is_empty()
        && policy.not_before.is_none()
        && policy.not_after.is_none()
        && policy.first.is_none()
}

/// Whether the ranks let it; see `evaluate`.
fn cancels(exemption: &Policy, mute: &Policy) -> bool {
    outranks(
        (&exemption.owner, exemption.priority),
        (&mute.owner, mute.priority),
        mute.overridable,
    )
}

/// Whether a mute that is not cancelled is in an exemption's way, in rooms that both are about.
fn is_above(exemption: &Policy, mute: &Policy) -> bool {
    let same_rooms = mute.owner == exemption.owner || mute.owner.is_operator();
    let left_alone = mute.unless.as_ref();
    let left_alone = left_alone.is_some_and(|unless| covers(unless, &exemption.match_));
    same_rooms && by_words_alone(mute) && !left_alone
}

/// Whether some track is one of both, as far as their words tell.
fn shares_a_track(exemption: &Policy, mute: &Policy) -> bool {
    let share = |one: &[String], other: &[String]| {
        let fits = |glob: &String, name: &String| {
            // A glob that ends in any text fits what starts as it does.
            covers_name(glob, name)
                || Glob::new(glob).is_ok_and(|glob| glob.is_match(name.trim_end_matches('*')))
        };
        any_pair(one, other, |one, other| {
            fits(one, other) || fits(other, one)
        })
    };
    both(&exemption.match_, &mute.match_, true, share)
}

/// Whether some track may be one of both.
fn may_share_a_track(exemption: &Policy, mute: &Policy) -> bool {
    fn start(glob: &str) -> &str {
        let special = glob.find(['*', '?', '[', '{', '\\']);
        glob.get(..special.unwrap_or(glob.len()))
            .unwrap_or_default()
    }
    let may = |one: &[String], other: &[String]| {
        any_pair(one, other, |one, other| {
            let (start_of_one, start_of_other) = (start(one), start(other));
            match (start_of_one == one, start_of_other == other) {
                (true, true) => one == other,
                (true, false) => Glob::new(other).is_ok_and(|glob| glob.is_match(one)),
                (false, true) => Glob::new(one).is_ok_and(|glob| glob.is_match(other)),
                (false, false) => {
                    start_of_one.starts_with(start_of_other)
                        || start_of_other.starts_with(start_of_one)
                }
            }
        })
    };
    both(&exemption.match_, &mute.match_, false, may)
}

fn any_pair(one: &[String], other: &[String], fits: impl Fn(&String, &String) -> bool) -> bool {
    let open = |globs: &[String]| globs.is_empty() || any_name(globs);
    let with = |one: &String| other.iter().any(|other| fits(one, other));
    open(one) || open(other) || one.iter().any(with)
}

/// Whether a track may be one of both conditions (or surely is), with this answer for names.
fn both(
    one: &Match,
    other: &Match,
    surely: bool,
    names: impl Fn(&[String], &[String]) -> bool,
) -> bool {
    /// What both lists leave, none where it is nothing; an empty list leaves all.
    fn left<T: PartialEq + Clone>(one: &[T], other: &[T]) -> Option<Vec<T>> {
        if one.is_empty() || other.is_empty() {
            return Some([one, other].concat());
        }
        let left: Vec<T> = one
            .iter()
            .filter(|word| other.contains(word))
            .cloned()
            .collect();
        (!left.is_empty()).then_some(left)
    }
    let words = || {
        Some(Match {
            source: left(&one.source, &other.source)?,
            type_: left(&one.type_, &other.type_)?,
            kind: left(&one.kind, &other.kind)?,
            // A participant may have a detail of each.
            kind_details: match left(&one.kind_details, &other.kind_details) {
                None if surely => return None,
                both => both.unwrap_or_default(),
            },
            ..Match::default()
        })
    };
    let attribute = |(name, values): (&String, &Vec<String>)| {
        let asked = other.attributes.get(name);
        asked.is_none_or(|asked| left(values, asked).is_some())
    };
    names(&one.room, &other.room)
        && names(&one.identity, &other.identity)
        && one.attributes.iter().all(attribute)
        && words().is_some_and(|both| !contradicts_itself(&both) && detail_apart(&both).is_none())
}
