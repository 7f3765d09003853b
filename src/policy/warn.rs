//! What is allowed in a policy and probably not meant.

use super::document::{Effect, Match, Policy};
use super::facts::{Source, TrackType};

pub(super) struct Doubt {
    /// The keys on the way to it.
    pub(super) keys: &'static [&'static str],
    pub(super) message: String,
    pub(super) hint: &'static str,
}

pub(super) fn doubts(policy: &Policy) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if policy.match_.is_empty() {
        doubts.push(Doubt {
            keys: &["match"],
            message: "this matches every track in every room".to_owned(),
            hint: "name at least a room or a type if that is not meant",
        });
    }
    if policy.effect == Effect::Mute && misses_unnamed_microphones(&policy.match_) {
        doubts.push(Doubt {
            keys: &["match", "source"],
            message: "a client may publish a microphone without a source, and slip by".to_owned(),
            hint: "add UNKNOWN to the list, with `type: AUDIO`",
        });
    }
    let spared = match policy.effect {
        Effect::Exempt => Some((["match"].as_slice(), &policy.match_)),
        Effect::Mute => policy
            .unless
            .as_ref()
            .map(|unless| (["unless"].as_slice(), unless)),
    };
    if let Some((keys, condition)) = spared
        && let Some(what) = own_words(condition)
    {
        doubts.push(Doubt {
            keys,
            message: format!("participants may be able to spare themselves, by {what}"),
            hint: "match identity or kind as well, which come from the token",
        });
    }
    for (keys, condition) in [
        (["match", "attributes"].as_slice(), Some(&policy.match_)),
        (["unless", "attributes"].as_slice(), policy.unless.as_ref()),
    ] {
        let values = condition.into_iter().flat_map(|c| c.attributes.values());
        if values.flatten().any(|value| value.contains('*')) {
            doubts.push(Doubt {
                keys,
                message: "attributes are compared exactly: `*` is a plain character here"
                    .to_owned(),
                hint: "list the values that are meant",
            });
        }
    }
    doubts
}

/// Microphones are asked for by their source, which a client need not give.
fn misses_unnamed_microphones(condition: &Match) -> bool {
    let audio = condition.type_.is_empty() || condition.type_.contains(&TrackType::Audio);
    audio
        && condition.source.contains(&Source::Microphone)
        && !condition.source.contains(&Source::Unknown)
}

/// What of a condition the participant itself writes, where nothing in it binds who that is.
fn own_words(condition: &Match) -> Option<&'static str> {
    if !condition.identity.is_empty() || !condition.kind.is_empty() {
        return None;
    }
    match (condition.attributes.is_empty(), condition.source.is_empty()) {
        (true, true) => None,
        (false, true) => Some("the attributes that they set"),
        (true, false) => Some("the source that they publish with"),
        (false, false) => {
            Some("the attributes that they set and the source that they publish with")
        }
    }
}
