//! Policies from which participants can exempt themselves, by what they set themselves.

use crate::diagnostic::Lint;
use crate::expression::{Control, Expression};
use crate::facts::Kind;
use crate::policy::{Effect, Match, Policy};

/// What participants may write where their permissions let them.
const ATTRIBUTES: &str = "the attributes that they set";

pub(super) fn lint(policy: &Policy) -> Option<Lint> {
    let (keys, what) = self_exempting(policy)?;
    let is_by_attributes = what == ATTRIBUTES;
    let hint = match policy.effect {
        _ if !is_by_attributes => "",
        Effect::Exempt => {
            "; attributes are the token's too where `when` says `&& !participant.can_update_metadata`"
        }
        Effect::Mute => {
            "; or say it in `when`, with `|| participant.can_update_metadata`: then attributes are the token's"
        }
    };
    Some(Lint::new(
        keys,
        format!("participants may be able to exempt themselves, by {what}"),
        format!(
            "match identity, or a kind other than STANDARD, as well: the token says these{hint}"
        ),
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
            let by_match = participant_controlled(&policy.match_);
            let is_of_token =
                by_match == [ATTRIBUTES] && when.is_some_and(Expression::holds_of_not_updatable);
            if is_of_token || controlled_by(&policy.match_).and(control) != Control::Participant {
                return None;
            }
            let keys = if by_match.is_empty() { when_ } else { match_ };
            Some((keys, together(by_match, by_when)))
        }
        (Effect::Mute, Some(unless)) if controlled_by(unless) == Control::Participant => {
            let by_unless = participant_controlled(unless);
            let is_header = |name: &String| name.starts_with(SIP_HEADER);
            let is_of_trunk = by_unless == [ATTRIBUTES]
                && !unless.attributes.keys().any(is_header)
                && is_of_callers(&policy.match_);
            (!is_of_trunk).then(|| (unless_, together(by_unless, Vec::new())))
        }
        (Effect::Mute, _) => {
            let own = when?.fails_by() == Control::Participant;
            let what = together(by_when, Vec::new());
            let is_of_trunk = what == ATTRIBUTES && is_of_callers(&policy.match_);
            (own && !is_of_trunk).then_some((when_, what))
        }
    }
}

/// Who controls whether a condition holds.
fn controlled_by(condition: &Match) -> Control {
    let Match {
        identity,
        kind,
        kind_details,
        ..
    } = condition;
    // A glob of `?` and `*` asks for no more than a length, and every client is STANDARD, without
    // details.
    let any = |glob: &String| glob.bytes().all(|byte| matches!(byte, b'*' | b'?'));
    let by_identity = !identity.is_empty() && !identity.iter().any(any);
    let by_kind = !kind.is_empty() && !kind.contains(&Kind::Standard);
    if by_identity || by_kind || !kind_details.is_empty() {
        Control::Token
    } else if participant_controlled(condition).is_empty() {
        Control::Other
    } else {
        Control::Participant
    }
}

/// What LiveKit's SIP service names the attributes with that it makes of the caller's own headers.
const SIP_HEADER: &str = "sip.h.";

/// Whether it is about callers by phone alone. They have no client to write attributes with: the SIP service does.
fn is_of_callers(condition: &Match) -> bool {
    !condition.kind.is_empty() && condition.kind.iter().all(|kind| *kind == Kind::Sip)
}

/// What a condition asks for that participants set themselves.
fn participant_controlled(condition: &Match) -> Vec<&'static str> {
    let attributes = (!condition.attributes.is_empty()).then_some(ATTRIBUTES);
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
