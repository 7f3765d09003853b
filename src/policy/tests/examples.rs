//! The example policies tell the story of a webinar.

use std::fmt::Write;

use super::make::{attributes, facts, now, set};
use crate::policy::{Document, Fact, Kind, Policy, Problem, Source, TrackType, decide};

fn examples() -> (Vec<Policy>, Vec<String>) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    for (name, text) in &files {
        assert!(text.starts_with("# "), "{name} begins with when to use it");
    }
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let checked = Document::load(files).unwrap_or_else(|problems| panic!("{problems}"));
    let warnings = checked.warnings.iter().map(Problem::to_string).collect();
    (checked.value.policies, warnings)
}

#[test]
fn they_load_and_say_only_what_their_comments_say() {
    let (policies, warnings) = examples();
    assert!(policies.iter().all(|policy| policy.description.is_some()));
    let warnings = warnings.join("\n");
    insta::assert_snapshot!("example_warnings", warnings);
}

#[test]
fn they_tell_the_story_of_a_webinar() {
    let (policies, _) = examples();
    let set = set(&policies);
    let story = [
        (
            "host-hanna",
            Kind::Standard,
            Some("host"),
            Source::Microphone,
        ),
        (
            "host-hanna",
            Kind::Standard,
            Some("host"),
            Source::ScreenShareAudio,
        ),
        (
            "attendee-ada",
            Kind::Standard,
            Some("attendee"),
            Source::Microphone,
        ),
        ("attendee-bo", Kind::Standard, None, Source::Unknown),
        (
            "attendee-ada",
            Kind::Standard,
            Some("attendee"),
            Source::Camera,
        ),
        (
            "attendee-ada",
            Kind::Standard,
            Some("attendee"),
            Source::ScreenShareAudio,
        ),
        ("sip-4917012345", Kind::Sip, None, Source::Microphone),
        ("sip-4917012345", Kind::Sip, None, Source::Unknown),
        ("agent-notes", Kind::Agent, None, Source::Microphone),
    ];
    let mut told = String::new();
    for room in ["webinar-allhands", "standup"] {
        for (identity, kind, role, source) in &story {
            let mut facts = facts();
            facts.room.name = room.to_owned();
            facts.participant.identity = (*identity).to_owned();
            facts.participant.kind = Fact::Known(kind.clone());
            let role = role.map(|role| attributes(&[("role", role)]));
            facts.participant.attributes = Fact::Known(role.unwrap_or_default());
            facts.track.source = source.clone();
            if *source == Source::Camera {
                facts.track.type_ = TrackType::Video;
            }
            let decision = decide(&set, &facts, now());
            let in_words =
                |verdict: &crate::policy::Verdict| match (verdict.mute(), verdict.spared()) {
                    (Some(by), _) => format!("muted by {}", by.name),
                    (None, Some(spared)) => {
                        format!("spared from {} by {}", spared.mute.name, spared.by.name)
                    }
                    (None, None) => match decision.excepted_by() {
                        Some(policy) => format!("left alone by {} itself", policy.name),
                        None => "nothing".to_owned(),
                    },
                };
            let enforced = in_words(&decision.enforced);
            let shadow = in_words(&decision.shadow);
            write!(told, "{room} {identity} {source}: {enforced}").unwrap();
            if shadow != enforced {
                write!(told, " (on trial: {shadow})").unwrap();
            }
            told += "\n";
        }
    }
    insta::assert_snapshot!("webinar_story", told);
}
