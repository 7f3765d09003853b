//! Exemptions that cancel nothing because every mute that they are about ranks above them.
//!
//! What is compared are policies of the same files: that a stored mute is cancelled is not seen.
//! There is a warning only where a mute is surely about a track of the exemption's (as their words
//! tell), and none of those mutes is cancelled: whoever means to spare tracks of one mute and not
//! of another, which ranks higher, is left alone.

use super::document::{Effect, Mode, Policy};
use super::glob::Glob;
use super::warn::{any_name, covers};

/// So many pairs of policies are compared: 10,000 policies may have 25,000,000.
const PAIRS_MAX: usize = 200_000;

/// The exemptions that cancel nothing, by their places in the list, each with the lowest mute that
/// it would have to reach.
pub(super) fn outranked(policies: &[Policy]) -> Vec<(usize, &Policy)> {
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
        let about = mutes.iter().filter(|mute| share_a_track(exemption, mute));
        let (cancelled, above): (Vec<&Policy>, Vec<_>) =
            about.partition(|mute| cancels(exemption, mute));
        if cancelled.is_empty()
            && let Some(lowest) = above
                .into_iter()
                .filter(|mute| mute.owner == exemption.owner)
                .min_by_key(|mute| mute.priority)
        {
            found.push((place, lowest));
        }
    }
    found
}

/// Whether the ranks let it; see `evaluate`.
fn cancels(exemption: &Policy, mute: &Policy) -> bool {
    match (&exemption.owner, &mute.owner) {
        (exempts, mutes) if exempts == mutes => exemption.priority >= mute.priority,
        (None, Some(_)) => true,
        (Some(_), None) => mute.overridable,
        (Some(_), Some(_)) | (None, None) => false,
    }
}

/// Whether some track is one of both, as far as their words tell.
fn share_a_track(exemption: &Policy, mute: &Policy) -> bool {
    fn any<T: PartialEq>(one: &[T], other: &[T]) -> bool {
        one.is_empty() || other.is_empty() || one.iter().any(|word| other.contains(word))
    }
    let (one, other) = (&exemption.match_, &mute.match_);
    let left_alone = mute.unless.as_ref();
    let left_alone = left_alone.is_some_and(|unless| covers(unless, one));
    let attribute = |(name, values): (&String, &Vec<String>)| {
        other
            .attributes
            .get(name)
            .is_none_or(|asked| any(values, asked))
    };
    !left_alone
        && names(&one.room, &other.room)
        && names(&one.identity, &other.identity)
        && any(&one.source, &other.source)
        && any(&one.type_, &other.type_)
        && any(&one.kind, &other.kind)
        && one.attributes.iter().all(attribute)
}

/// Whether some name surely fits globs of both.
fn names(one: &[String], other: &[String]) -> bool {
    let open = |globs: &[String]| globs.is_empty() || any_name(globs);
    let fits = |glob: &String, name: &String| {
        // A glob that ends in any text fits what starts as it does.
        glob == name || Glob::new(glob).is_ok_and(|glob| glob.is_match(name.trim_end_matches('*')))
    };
    let both = |one: &String| {
        other
            .iter()
            .any(|other| fits(one, other) || fits(other, one))
    };
    open(one) || open(other) || one.iter().any(both)
}
