//! Policies from which participants can exempt themselves, by what they set themselves.

use crate::diagnostic::Lint;
use crate::expression::{Control, Expression};
use crate::facts::Kind;
use crate::policy::{Effect, Match, Policy};

pub(super) fn lint(policy: &Policy) -> Option<Lint> {
    let (keys, what) = self_exempting(policy)?;
    Some(Lint::new(
        keys,
        format!("participants may be able to exempt themselves, by {what}"),
        "match identity, or a kind other than STANDARD, as well: the token says these; attributes are the token's too where `when` asks for `!participant.can_update_metadata`",
    ))
}

/// The key by which participants exempt themselves, and what they set to do so; none where who they
/// are by their token matters as well.
fn self_exempting(policy: &Policy) -> Option<(&'static [&'static str], String)> {
    let [match_, unless_, when_] = [&["match"], &["unless"], &["when"]].map(<[_; 1]>::as_slice);
    let when = policy.when.as_ref();
    let by_when = when
        .map(Expression::participant_controlled)
        .unwrap_or_default();
    match (policy.effect, &policy.unless) {
        (Effect::Exempt, _) => {
            let control = when.map_or(Control::Other, Expression::holds_by);
            if controlled_by(&policy.match_).and(control) != Control::Participant {
                return None;
            }
            let by_match = participant_controlled(&policy.match_);
            let keys = if by_match.is_empty() { when_ } else { match_ };
            Some((keys, together(by_match, by_when)))
        }
        // What it is about has no client to set anything with.
        (Effect::Mute, _) if is_of_other_kinds(&policy.match_) => None,
        (Effect::Mute, Some(unless)) if controlled_by(unless) == Control::Participant => Some((
            unless_,
            together(participant_controlled(unless), Vec::new()),
        )),
        (Effect::Mute, _) => {
            let own = when?.fails_by() == Control::Participant;
            own.then(|| (when_, together(by_when, Vec::new())))
        }
    }
}

/// Who controls whether a condition holds.
fn controlled_by(condition: &Match) -> Control {
    let Match {
        identity,
        kind_details,
        ..
    } = condition;
    // A glob of `?` and `*` asks for no more than a length, and every client is STANDARD, without
    // details.
    let any = |glob: &String| glob.bytes().all(|byte| matches!(byte, b'*' | b'?'));
    let by_identity = !identity.is_empty() && !identity.iter().any(any);
    if by_identity || is_of_other_kinds(condition) || !kind_details.is_empty() {
        Control::Token
    } else if participant_controlled(condition).is_empty() {
        Control::Other
    } else {
        Control::Participant
    }
}

/// Whether it is about kinds of participants alone that are no people with clients.
fn is_of_other_kinds(condition: &Match) -> bool {
    !condition.kind.is_empty() && !condition.kind.contains(&Kind::Standard)
}

/// What a condition asks for that participants set themselves.
fn participant_controlled(condition: &Match) -> Vec<&'static str> {
    let attributes = (!condition.attributes.is_empty()).then_some("the attributes that they set");
    let source = (!condition.source.is_empty()).then_some("the source that they publish with");
    attributes.into_iter().chain(source).collect()
}

fn together(words: Vec<&'static str>, more: Vec<&'static str>) -> String {
    let mut once = Vec::new();
    for word in words.into_iter().chain(more) {
        if !once.contains(&word) {
            once.push(word);
        }
    }
    once.join(" and ")
}
