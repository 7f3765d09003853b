//! Facts as a question gives them: the form in which they are stored, read strictly.
//!
//! Only `room.name` and `participant.identity` have to be there. What a webhook always tells is
//! assumed where it is left out, as LiveKit's own form on the wire reads: no source is `UNKNOWN`,
//! no type is `AUDIO`. All else is unknown.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::json::SAID_CHARS_MAX;
use super::sources::{self, FACTS, Source, Told};
use super::{Case, ExplainError};
use crate::livekit::event::TRACK_PUBLISHED;
use quell_policy::metadata::{METADATA_DEPTH_MAX, is_deeper, tenant_in};
use quell_policy::problem::{PROBLEMS_MAX, did_you_mean};
use quell_policy::terminal::{cut, quoted};
use quell_policy::{Fact, Facts, Kind, KindDetail, Source as TrackSource, TrackType};

const SECTIONS: &[&str] = &["room", "participant", "track", "event"];
/// LiveKit takes names and identities of 256.
pub(crate) const TEXT_CHARS_MAX: usize = 1_024;
/// LiveKit knows six words for these.
const KIND_DETAILS_MAX: usize = 100;
const NEEDED: [&str; 2] = ["room.name", "participant.identity"];

/// Reads facts; of `tenant`'s rooms only, where there is one.
pub(super) fn read(
    given: &Value,
    tenant: Option<&str>,
    at: DateTime<Utc>,
) -> Result<Case, ExplainError> {
    check_keys(given).map_err(ExplainError::Invalid)?;
    check_values(given).map_err(ExplainError::Invalid)?;
    let completed = merged(assumed(at), given);
    let mut facts: Facts = serde_path_to_error::deserialize(&completed).map_err(|error| {
        let hint = if error.inner().to_string().contains("null") {
            "; leave a fact out that is not known"
        } else {
            ""
        };
        let (path, said) = (error.path().to_string(), error.inner().to_string());
        // Either may hold a text as long as the question.
        ExplainError::Invalid(format!(
            "facts.{}: {}{hint}",
            cut(&path, SAID_CHARS_MAX),
            cut(&said, SAID_CHARS_MAX)
        ))
    })?;
    let from_metadata = check_tenant(&mut facts)?;
    let mut sources = sources::all(|path, told| {
        if sources::is_known(given, path) || (path == "room.tenant" && from_metadata) {
            Source::Request
        } else if told == Told::Always {
            Source::Assumed
        } else {
            Source::Unknown
        }
    });
    if let Some(tenant) = tenant
        && only_own(&mut facts, tenant)?
    {
        sources.insert("room.tenant", Source::Caller);
    }
    Ok(Case {
        warnings: flat_metadata(given).chain(strange_words(&facts)).collect(),
        facts,
        sources,
        at,
        event: None,
    })
}

fn assumed(at: DateTime<Utc>) -> Value {
    json!({
        "room": {"sid": ""},
        "participant": {"sid": ""},
        "track": {"sid": "", "source": "UNKNOWN", "type": "AUDIO"},
        "event": {"type": TRACK_PUBLISHED, "created_at": at.timestamp()},
    })
}

fn merged(mut below: Value, above: &Value) -> Value {
    for (section, given) in fields(above) {
        let under = below.get_mut(section).and_then(Value::as_object_mut);
        if let Some(under) = under {
            let given = fields(given);
            under.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    below
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// What is wrong: so much as somebody reads, the rest is only counted. Who sends thousands of keys
/// does not have each of them written about.
#[derive(Default)]
struct Wrong {
    said: Vec<String>,
    left_off: usize,
}

impl Wrong {
    fn add(&mut self, say: impl FnOnce() -> String) {
        if self.said.len() < PROBLEMS_MAX {
            self.said.push(say());
        } else {
            self.left_off += 1;
        }
    }

    fn done(mut self) -> Result<(), String> {
        if self.said.is_empty() {
            return Ok(());
        }
        if self.left_off > 0 {
            self.said.push(format!("and {} more", self.left_off));
        }
        Err(self.said.join("\n"))
    }
}

/// Says what is wrong with the keys; what the values are is for the types to say.
fn check_keys(given: &Value) -> Result<(), String> {
    let Value::Object(found) = given else {
        return Err("`facts` must be an object with room, participant, track and event".to_owned());
    };
    let mut wrong = Wrong::default();
    for (section, given) in found {
        if !SECTIONS.contains(&section.as_str()) {
            wrong.add(|| unknown_key("facts", section, SECTIONS));
            continue;
        }
        let Value::Object(found) = given else {
            wrong.add(|| format!("facts.{section}: an object is wanted here"));
            continue;
        };
        let known: Vec<_> = FACTS
            .iter()
            .filter_map(|(path, _)| path.split_once('.'))
            .filter(|(of, _)| of == section)
            .map(|(_, key)| key)
            .collect();
        for key in found.keys().filter(|key| !known.contains(&key.as_str())) {
            wrong.add(|| unknown_key(&format!("facts.{section}"), key, &known));
        }
    }
    let missing = NEEDED
        .into_iter()
        .filter(|path| given.pointer(&pointer(path)).is_none());
    missing.for_each(|path| wrong.add(|| format!("facts.{path}: this is missing")));
    wrong.done()
}

/// Refuses texts that are longer than any of LiveKit's, and metadata as LiveKit hands it over or
/// as no fact has it.
fn check_values(given: &Value) -> Result<(), String> {
    let mut wrong = Wrong::default();
    for path in ["room.metadata", "participant.metadata"] {
        let metadata = given.pointer(&pointer(path));
        if metadata.is_some_and(|metadata| is_deeper(metadata, METADATA_DEPTH_MAX)) {
            wrong.add(|| {
                format!(
                    "facts.{path}: at most {METADATA_DEPTH_MAX} levels are kept of metadata; write null in place of what is deeper"
                )
            });
        }
    }
    let details = given.pointer(&pointer("participant.kind_details"));
    let details = details.and_then(Value::as_array).map_or(0, Vec::len);
    if details > KIND_DETAILS_MAX {
        wrong.add(|| {
            format!(
                "facts.participant.kind_details: these are {details}; there may be {KIND_DETAILS_MAX}"
            )
        });
    }
    for (path, text) in texts(given) {
        let chars = text.chars().count();
        if path.ends_with(".metadata") {
            if serde_json::from_str::<Value>(text).is_ok_and(|read| read.is_object()) {
                wrong.add(|| {
                    format!(
                        "facts.{path}: this is text; write it as a map, without the quotes around it"
                    )
                });
            }
        } else if chars > TEXT_CHARS_MAX {
            wrong.add(|| {
                format!(
                    "facts.{path}: this is {chars} characters long; it may have {TEXT_CHARS_MAX}"
                )
            });
        }
    }
    wrong.done()
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

/// The facts that are given as text, and the words of lists.
fn texts(given: &Value) -> impl Iterator<Item = (&'static str, &str)> {
    FACTS.iter().flat_map(|(path, _)| {
        let fact = given.pointer(&pointer(path));
        let items = fact
            .filter(|_| *path == "participant.kind_details")
            .and_then(Value::as_array);
        fact.into_iter()
            .chain(items.into_iter().flatten())
            .filter_map(|text| Some((*path, text.as_str()?)))
    })
}

/// Metadata that is text: policies find nothing in it.
fn flat_metadata(given: &Value) -> impl Iterator<Item = String> {
    texts(given)
        .filter(|(path, _)| path.ends_with(".metadata"))
        .map(|(path, _)| {
            format!("facts.{path}: this is text, in which no key is found; write it as a map")
        })
}

fn unknown_key(path: &str, key: &str, known: &[&str]) -> String {
    let hint = match did_you_mean(key, known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", known.join(", ")),
    };
    let key = quoted(key);
    format!("{path}: there is no {key} among the facts; {hint}")
}

/// A room's tenant is what its metadata says; either may be given. Whether it was taken from there.
fn check_tenant(facts: &mut Facts) -> Result<bool, ExplainError> {
    let invalid = |text: String| Err(ExplainError::Invalid(text));
    if let Fact::Known(Some(tenant)) = &facts.room.tenant
        && tenant.trim().is_empty()
    {
        return invalid(
            "facts.room.tenant: it is blank; write null for a room of no tenant".to_owned(),
        );
    }
    let Fact::Known(metadata) = &facts.room.metadata else {
        return Ok(false);
    };
    let said = tenant_in(metadata).map(str::to_owned);
    match &facts.room.tenant {
        Fact::Known(tenant) if *tenant != said => invalid(format!(
            "facts.room.tenant: it is {}, but `auth_id` in room.metadata makes it {}; leave one of them out",
            cut(&json!(tenant).to_string(), SAID_CHARS_MAX),
            cut(&json!(said).to_string(), SAID_CHARS_MAX),
        )),
        Fact::Known(_) => Ok(false),
        Fact::Unknown => {
            facts.room.tenant = Fact::Known(said);
            Ok(true)
        }
    }
}

/// Refuses facts of another's room; whether the tenant was filled in.
fn only_own(facts: &mut Facts, tenant: &str) -> Result<bool, ExplainError> {
    match &facts.room.tenant {
        Fact::Known(Some(owner)) if owner == tenant => Ok(false),
        Fact::Known(Some(_)) => Err(ExplainError::OtherTenant(
            "facts.room: this is another tenant's room; only an operator may ask about it"
                .to_owned(),
        )),
        Fact::Known(None) => Err(ExplainError::OtherTenant(
            "facts.room: this is a room of no tenant; only an operator may ask about it. Leave `tenant` out to mean your own, and write your `auth_id` where you give `metadata`"
                .to_owned(),
        )),
        Fact::Unknown => {
            facts.room.tenant = Fact::Known(Some(tenant.to_owned()));
            Ok(true)
        }
    }
}

/// Words that no policy can name: those of a newer LiveKit, or slips.
fn strange_words(facts: &Facts) -> Vec<String> {
    let track = &facts.track;
    let kind = facts.participant.kind.known().map(Kind::as_str);
    let details = facts.participant.kind_details.known().into_iter().flatten();
    [
        ("track.source", track.source.as_str(), TrackSource::WORDS),
        ("track.type", track.type_.as_str(), TrackType::WORDS),
    ]
    .into_iter()
    .chain(kind.map(|kind| ("participant.kind", kind, Kind::WORDS)))
    .chain(details.map(|detail| {
        let path = "participant.kind_details";
        (path, detail.as_str(), KindDetail::WORDS)
    }))
    .filter(|(_, word, words)| !words.contains(word))
    .map(|(path, word, words)| {
        let hint = match did_you_mean(word, words) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", words.join(", ")),
        };
        format!("facts.{path}: {word:?} is a word that no policy can name; {hint}")
    })
    .collect()
}
