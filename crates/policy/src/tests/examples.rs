//! The example policies: what each has, and the story of a webinar that they tell.

use std::fmt::Write;

use super::make::{attributes, facts, now, set};
use crate::{Document, Fact, Kind, Policy, Problem, Source, TrackType, decide};

fn examples() -> (Vec<Policy>, Vec<String>) {
    let (files, tests) = super::make::examples();
    for (name, text) in &files {
        let begins = "# yaml-language-server: $schema=schema.json\n# For ";
        assert!(text.starts_with(begins), "{name} says when to use it");
    }
    for (name, text) in &tests {
        let begins = "# yaml-language-server: $schema=test.schema.json\n";
        assert!(text.starts_with(begins), "{name} names its schema");
    }
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let checked = Document::load(files).unwrap_or_else(|problems| panic!("{problems}"));
    let warnings = checked.warnings.iter().map(Problem::to_string).collect();
    (checked.value.policies, warnings)
}

#[test]
fn they_load_without_a_warning() {
    let (policies, warnings) = examples();
    assert!(policies.iter().all(|policy| policy.description.is_some()));
    assert_eq!(warnings, Vec::<String>::new());
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
            let in_words = |verdict: &crate::Verdict| match (verdict.mute(), verdict.exempted()) {
                (Some(by), _) => format!("muted by {}", by.name),
                (None, Some(exempted)) => {
                    format!(
                        "exempted from {} by {}",
                        exempted.mute.name, exempted.by.name
                    )
                }
                (None, None) => match decision.exempted_by_unless() {
                    Some(policy) => format!("left alone by {} itself", policy.name),
                    None => "nothing".to_owned(),
                },
            };
            let enforced = in_words(&decision.enforced);
            let dry_run = in_words(&decision.dry_run);
            write!(told, "{room} {identity} {source}: {enforced}").unwrap();
            if dry_run != enforced {
                write!(told, " (dry run: {dry_run})").unwrap();
            }
            told += "\n";
        }
    }
    insta::assert_snapshot!("webinar_story", told);
}
