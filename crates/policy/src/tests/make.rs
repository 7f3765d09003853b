//! Facts, policies and sets for tests, in few words.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    CompiledPolicy, Document, EventFacts, Fact, Facts, Kind, Owner, ParticipantFacts, Policy,
    PolicySet, RoomFacts, Source, TenantId, TrackFacts, TrackType,
};

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_357_717, 0).unwrap()
}

/// A microphone of the attendee `attendee-1` in `webinar-1`, a room without tenant.
pub(crate) fn facts() -> Facts {
    Facts {
        room: RoomFacts {
            name: "webinar-1".to_owned(),
            sid: "RM_1".to_owned(),
            tenant: Fact::Known(None),
            ..RoomFacts::default()
        },
        participant: ParticipantFacts {
            identity: "attendee-1".to_owned(),
            sid: "PA_1".to_owned(),
            kind: Fact::Known(Kind::Standard),
            kind_details: Fact::Known(Vec::new()),
            attributes: Fact::Known(attributes(&[("role", "attendee")])),
            can_update_metadata: Fact::Known(false),
            ..ParticipantFacts::default()
        },
        track: TrackFacts {
            sid: "TR_1".to_owned(),
            name: String::new(),
            source: Source::Microphone,
            type_: TrackType::Audio,
            mime_type: "audio/opus".to_owned(),
            muted: Fact::Unknown,
        },
        event: EventFacts {
            type_: "track_published".to_owned(),
            created_at: 1_795_357_717,
        },
    }
}

pub(crate) fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

pub(crate) fn owner(tenant: Option<&str>) -> Owner {
    tenant.map(self::tenant).into()
}

pub(crate) fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// The policies of this YAML, in its order.
pub(crate) fn policies(yaml: &str) -> Vec<Policy> {
    Document::load([("test.yaml", yaml)])
        .unwrap_or_else(|problems| panic!("{problems}"))
        .value
        .policies
}

pub(crate) fn set(policies: &[Policy]) -> PolicySet {
    PolicySet::new(
        policies
            .iter()
            .map(|policy| CompiledPolicy::new(policy, 1).unwrap()),
    )
}

/// Policies in short: `mute a 100`, `exempt acme/b 200 dry_run overridable unknown never`.
///
/// `unknown` asks for an attribute, so that it depends on attributes; `never` matches no track.
pub(crate) fn short(lines: &[&str]) -> Vec<Policy> {
    lines
        .iter()
        .map(|line| {
            let mut words = line.split_whitespace();
            let effect = words.next().unwrap();
            let (owner, name) = match words.next().unwrap().split_once('/') {
                Some((owner, name)) => (Some(owner), name),
                None => (None, line.split_whitespace().nth(1).unwrap()),
            };
            let mut document = serde_json::json!({
                "name": name, "effect": effect, "match": {}, "reason": "a reason",
            });
            for word in words {
                match word {
                    "dry_run" | "off" => document["mode"] = word.into(),
                    "overridable" => document["overridable"] = true.into(),
                    "unknown" => document["match"]["attributes"] = serde_json::json!({"x": "y"}),
                    "never" => document["match"]["room"] = "elsewhere".into(),
                    priority => document["priority"] = priority.parse::<u16>().unwrap().into(),
                }
            }
            Policy::from_stored(&document, &self::owner(owner))
                .unwrap_or_else(|problems| panic!("{problems}"))
        })
        .collect()
}

/// Files by name, and their texts.
pub(super) type Texts = Vec<(String, String)>;

/// The example policies, and their tests.
pub(super) fn examples() -> (Texts, Texts) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files: Texts = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|of| of == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    let is_policies = |file: &(String, String)| !file.0.contains(".test.");
    files.into_iter().partition(is_policies)
}
