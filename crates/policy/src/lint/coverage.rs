//! What one condition of a policy leaves to another, as far as the words in them tell.

use crate::facts::{Kind, KindDetail, Source, TrackType};
use crate::glob::Glob;
use crate::policy::Match;

/// Whether every name fits one of these globs.
pub(super) fn any_name(globs: &[String]) -> bool {
    let any = |glob: &String| !glob.is_empty() && glob.bytes().all(|byte| byte == b'*');
    globs.iter().any(any)
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
        let expected = match detail {
            KindDetail::CloudAgent => Kind::Agent,
            KindDetail::ConnectorWhatsapp | KindDetail::ConnectorTwilio => Kind::Connector,
            KindDetail::BridgeRtsp => Kind::Bridge,
            KindDetail::Forwarded | KindDetail::Simulation | KindDetail::Other(_) => return None,
        };
        (!kind.contains(&expected)).then_some(expected)
    };
    let all: Option<Vec<_>> = kind_details
        .iter()
        .map(|detail| Some((detail, apart(detail)?)))
        .collect();
    all?.into_iter().next()
}
