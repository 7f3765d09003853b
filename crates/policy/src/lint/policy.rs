//! The lints of one policy by itself.

use super::coverage::{any_name, contradicts_itself, covers, detail_apart};
use super::{names, participant_controlled};
use crate::diagnostic::Lint;
use crate::facts::{Kind, Source, TrackType};
use crate::policy::{Effect, Match, Policy};

const UNNAMED_MICROPHONES: &str = "a client may publish a microphone without a source, and slip by";

pub(crate) fn lints(policy: &Policy) -> Vec<Lint> {
    let mut lints = Vec::new();
    let mut add = |keys, message: &str, hint: &str| lints.push(Lint::new(keys, message, hint));
    if names_nothing(&policy.match_) && policy.when.is_none() {
        add(
            &["match"],
            "this matches every track in every room",
            "name at least a room or a type if that is not meant",
        );
    }
    if contradicts_itself(&policy.match_) {
        add(
            &["match", "source"],
            "clients publish no track of this `type` with this `source`",
            "change one of them: microphones are AUDIO, cameras are VIDEO",
        );
    }
    for (keys, condition) in [
        (&["match", "kind_details"], Some(&policy.match_)),
        (&["unless", "kind_details"], policy.unless.as_ref()),
    ] {
        if let Some((detail, kind)) = condition.and_then(detail_apart) {
            let (detail, kind) = (detail.as_str(), kind.as_str());
            add(
                keys,
                &format!("{detail} is a detail of the kind {kind}, which this does not name"),
                &format!("write `kind: {kind}`, or leave `kind` out"),
            );
        }
    }
    let covers = |unless: &Match| covers(unless, &policy.match_);
    if policy.unless.as_ref().is_some_and(covers) {
        add(
            &["unless"],
            "this leaves alone all that `match` is about, so the policy does nothing",
            "name less in `unless`, or more in `match`",
        );
    }
    if policy.effect == Effect::Mute && misses_unnamed_microphones(&policy.match_) {
        add(
            &["match", "source"],
            UNNAMED_MICROPHONES,
            "add UNKNOWN to the list, with `type: AUDIO`",
        );
    }
    lints.extend(of_when(policy));
    lints.extend(participant_controlled::lint(policy));
    lints.extend(names::lints(policy));
    lints
}

/// The lints of `when`, beside what `match` says.
fn of_when(policy: &Policy) -> Vec<Lint> {
    let Some(when) = &policy.when else {
        return Vec::new();
    };
    let mut lints = Vec::new();
    let Match {
        source,
        type_,
        kind,
        ..
    } = &policy.match_;
    let microphones = (type_.is_empty() || type_.contains(&TrackType::Audio))
        && (source.is_empty() || source.contains(&Source::Microphone));
    if policy.effect == Effect::Mute && microphones && when.misses_unnamed_microphones() {
        lints.push(Lint::new(
            &["when"],
            UNNAMED_MICROPHONES,
            "write `track.source in [\"MICROPHONE\", \"UNKNOWN\"]`",
        ));
    }
    let limits = [
        ("track.source", source.iter().map(Source::as_str).collect()),
        ("track.type", type_.iter().map(TrackType::as_str).collect()),
        ("participant.kind", kind.iter().map(Kind::as_str).collect()),
    ];
    for problem in when.constant_conditions(&limits) {
        let hint = problem.hint().unwrap_or_default();
        lints.push(Lint::new(&["when"], problem.message(), hint));
    }
    lints
}

/// Whether all tracks match: there is nothing, or `*`.
fn names_nothing(condition: &Match) -> bool {
    let open = |globs: &[String]| globs.is_empty() || any_name(globs);
    open(&condition.room)
        && open(&condition.identity)
        && condition.source.is_empty()
        && condition.type_.is_empty()
        && condition.kind.is_empty()
        && condition.kind_details.is_empty()
        && condition.attributes.is_empty()
}

/// Microphones are asked for by their source, which a client need not give.
fn misses_unnamed_microphones(condition: &Match) -> bool {
    let audio = condition.type_.is_empty() || condition.type_.contains(&TrackType::Audio);
    audio
        && condition.source.contains(&Source::Microphone)
        && !condition.source.contains(&Source::Unknown)
}
