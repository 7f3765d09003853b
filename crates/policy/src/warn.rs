//! What is allowed in a policy and probably not meant.

use std::borrow::Cow;

use super::document::{Effect, Match, Policy};
use super::expression::{Expression, Sway};
use super::facts::{Kind, KindDetail, Source, TrackType};
use super::glob::Glob;
use super::looks;

pub(super) struct Doubt {
    /// The keys on the way to it.
    pub(super) keys: &'static [&'static str],
    pub(super) message: String,
    pub(super) hint: Cow<'static, str>,
}

const UNNAMED_MICROPHONES: &str = "a client may publish a microphone without a source, and slip by";

pub(super) fn doubts(policy: &Policy) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if names_nothing(&policy.match_) && policy.when.is_none() {
        doubts.push(Doubt {
            keys: &["match"],
            message: "this matches every track in every room".to_owned(),
            hint: "name at least a room or a type if that is not meant".into(),
        });
    }
    if contradicts_itself(&policy.match_) {
        doubts.push(Doubt {
            keys: &["match", "source"],
            message: "clients publish no track of this `type` with this `source`".to_owned(),
            hint: "change one of them: microphones are AUDIO, cameras are VIDEO".into(),
        });
    }
    for (keys, condition) in [
        (["match", "kind_details"].as_slice(), Some(&policy.match_)),
        (&["unless", "kind_details"], policy.unless.as_ref()),
    ] {
        if let Some((detail, kind)) = condition.and_then(detail_apart) {
            let (detail, kind) = (detail.as_str(), kind.as_str());
            doubts.push(Doubt {
                keys,
                message: format!(
                    "{detail} is a detail of the kind {kind}, which this does not name"
                ),
                hint: format!("write `kind: {kind}`, or leave `kind` out").into(),
            });
        }
    }
    let covers = |unless: &Match| covers(unless, &policy.match_);
    if policy.unless.as_ref().is_some_and(covers) {
        doubts.push(Doubt {
            keys: &["unless"],
            message: "this leaves alone all that `match` is about, so the policy does nothing"
                .to_owned(),
            hint: "name less in `unless`, or more in `match`".into(),
        });
    }
    if policy.effect == Effect::Mute && misses_unnamed_microphones(&policy.match_) {
        doubts.push(Doubt {
            keys: &["match", "source"],
            message: UNNAMED_MICROPHONES.to_owned(),
            hint: "add UNKNOWN to the list, with `type: AUDIO`".into(),
        });
    }
    if let Some(when) = &policy.when {
        let Match {
            source,
            type_,
            kind,
            ..
        } = &policy.match_;
        let microphones = (type_.is_empty() || type_.contains(&TrackType::Audio))
            && (source.is_empty() || source.contains(&Source::Microphone));
        if policy.effect == Effect::Mute && microphones && when.misses_unnamed_microphones() {
            doubts.push(Doubt {
                keys: &["when"],
                message: UNNAMED_MICROPHONES.to_owned(),
                hint: "write `track.source in [\"MICROPHONE\", \"UNKNOWN\"]`".into(),
            });
        }
        let limits = [
            ("track.source", source.iter().map(Source::as_str).collect()),
            ("track.type", type_.iter().map(TrackType::as_str).collect()),
            ("participant.kind", kind.iter().map(Kind::as_str).collect()),
        ];
        for doubt in when.doubts_within(&limits) {
            doubts.push(Doubt {
                keys: &["when"],
                message: doubt.message(),
                hint: doubt.hint().unwrap_or_default().to_owned().into(),
            });
        }
    }
    if let Some((keys, what)) = self_spared(policy) {
        doubts.push(Doubt {
            keys,
            message: format!("participants may be able to exempt themselves, by {what}"),
            hint: "match identity, or a kind other than STANDARD, as well: the token says these"
                .into(),
        });
    }
    doubts.extend(looks::doubts(policy));
    doubts
}

/// Whether every name fits one of these globs.
pub(super) fn any_name(globs: &[String]) -> bool {
    let any = |glob: &String| !glob.is_empty() && glob.bytes().all(|byte| byte == b'*');
    globs.iter().any(any)
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

/// Whether every source that is named is one of another type than those that are named.
pub(super) fn contradicts_itself(condition: &Match) -> bool {
    let strange = |type_: &TrackType, source: &Source| {
        matches!(
            (type_, source),
            (TrackType::Audio, Source::Camera | Source::ScreenShare)
                | (
                    TrackType::Video,
                    Source::Microphone | Source::ScreenShareAudio
                )
        )
    };
    let Match { type_, source, .. } = condition;
    let mut pairs = type_
        .iter()
        .flat_map(|t| source.iter().map(move |s| (t, s)));
    !type_.is_empty() && !source.is_empty() && pairs.all(|(t, s)| strange(t, s))
}

/// Whether what `inner` asks for is more than what `outer` does, as far as their words tell.
pub(super) fn covers(outer: &Match, inner: &Match) -> bool {
    fn within<T: PartialEq>(outer: &[T], inner: &[T]) -> bool {
        outer.is_empty() || !inner.is_empty() && inner.iter().all(|one| outer.contains(one))
    }
    let globs = |outer: &[String], inner: &[String]| {
        let covered = |inner: &String| outer.iter().any(|outer| covers_name(outer, inner));
        outer.is_empty() || any_name(outer) || !inner.is_empty() && inner.iter().all(covered)
    };
    let attribute = |(name, values): (&String, &Vec<String>)| {
        let asked = inner.attributes.get(name);
        asked.is_some_and(|asked| within(values, asked))
    };
    globs(&outer.room, &inner.room)
        && globs(&outer.identity, &inner.identity)
        && within(&outer.source, &inner.source)
        && within(&outer.type_, &inner.type_)
        && within(&outer.kind, &inner.kind)
        && within(&outer.kind_details, &inner.kind_details)
        && outer.attributes.iter().all(attribute)
}

/// Whether every name that fits the inner glob fits the outer one, as far as is soon told.
pub(super) fn covers_name(outer: &str, inner: &str) -> bool {
    let special = |text: &str| text.contains(['*', '?', '[', '{', '\\']);
    let by_start = outer.strip_suffix('*').filter(|start| !special(start));
    outer == inner
        || by_start.is_some_and(|start| inner.starts_with(start))
        || !special(inner) && Glob::new(outer).is_ok_and(|glob| glob.is_match(inner))
}

/// A kind detail that no participant of these kinds has, and whose kind it is: each that is named is
/// such a one.
pub(super) fn detail_apart(condition: &Match) -> Option<(&KindDetail, Kind)> {
    let Match {
        kind, kind_details, ..
    } = condition;
    if kind.is_empty() {
        return None;
    }
    let apart = |detail: &KindDetail| {
        let wanted = match detail {
            KindDetail::CloudAgent => Kind::Agent,
            KindDetail::ConnectorWhatsapp | KindDetail::ConnectorTwilio => Kind::Connector,
            KindDetail::BridgeRtsp => Kind::Bridge,
            KindDetail::Forwarded | KindDetail::Simulation | KindDetail::Other(_) => return None,
        };
        (!kind.contains(&wanted)).then_some(wanted)
    };
    let all: Option<Vec<_>> = kind_details
        .iter()
        .map(|detail| Some((detail, apart(detail)?)))
        .collect();
    all?.into_iter().next()
}

/// Microphones are asked for by their source, which a client need not give.
fn misses_unnamed_microphones(condition: &Match) -> bool {
    let audio = condition.type_.is_empty() || condition.type_.contains(&TrackType::Audio);
    audio
        && condition.source.contains(&Source::Microphone)
        && !condition.source.contains(&Source::Unknown)
}

/// Where participants write themselves what exempts them, and what that is, where nothing with it
/// binds who they are.
fn self_spared(policy: &Policy) -> Option<(&'static [&'static str], String)> {
    let [match_, unless_, when_] = [&["match"], &["unless"], &["when"]].map(<[_; 1]>::as_slice);
    let when = policy.when.as_ref();
    let by_when = when.map(Expression::own_words).unwrap_or_default();
    match (policy.effect, &policy.unless) {
        (Effect::Exempt, _) => {
            let sway = when.map_or(Sway::Open, Expression::sway_to_hold);
            if sway_of(&policy.match_).and(sway) != Sway::Own {
                return None;
            }
            let by_match = own_words(&policy.match_);
            let keys = if by_match.is_empty() { when_ } else { match_ };
            Some((keys, together(by_match, by_when)))
        }
        (Effect::Mute, Some(unless)) if sway_of(unless) == Sway::Own => {
            Some((unless_, together(own_words(unless), Vec::new())))
        }
        (Effect::Mute, _) => {
            let own = when?.sway_to_fail() == Sway::Own;
            own.then(|| (when_, together(by_when, Vec::new())))
        }
    }
}

/// What makes a condition hold.
fn sway_of(condition: &Match) -> Sway {
    let Match {
        identity,
        kind,
        kind_details,
        ..
    } = condition;
    // How long an identity is tells nobody from others, and whoever has a client is STANDARD, without
    // any details.
    let any = |glob: &String| glob.bytes().all(|byte| matches!(byte, b'*' | b'?'));
    let by_identity = !identity.is_empty() && !identity.iter().any(any);
    let by_kind = !kind.is_empty() && !kind.contains(&Kind::Standard);
    if by_identity || by_kind || !kind_details.is_empty() {
        Sway::Bound
    } else if own_words(condition).is_empty() {
        Sway::Open
    } else {
        Sway::Own
    }
}

/// What of a condition the participant itself writes.
fn own_words(condition: &Match) -> Vec<&'static str> {
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
