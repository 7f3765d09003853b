//! The keys of the maps of a document, and what is meant by a key that a map does not have.

use super::facts::catalog::SECTIONS;
use super::problem::one_of;

/// The keys of a policy.
pub(super) const POLICY_KEYS: &[&str] = &[
    "name",
    "owner",
    "description",
    "match",
    "unless",
    "when",
    "active",
    "not_before",
    "not_after",
    "first",
    "effect",
    "mode",
    "priority",
    "overridable",
    "reason",
];
/// The keys of `match` and `unless`.
pub(super) const MATCH_KEYS: &[&str] = &[
    "room",
    "identity",
    "source",
    "type",
    "kind",
    "kind_details",
    "attributes",
];
/// The keys of a window.
pub(super) const WINDOW_KEYS: &[&str] = &["cron", "duration", "timezone"];
/// The keys of a test case.
pub(super) const CASE_KEYS: &[&str] = &["name", "facts", "unknown", "at", "expect", "dry_run"];
/// The keys of what a test case expects.
pub(super) const OUTCOME_KEYS: &[&str] = &["mute", "exempted_by"];

pub(super) const SPACE_BEHIND_COLON: &str = "put a space behind the `:`";

/// The keys of other programs, each with the key that is meant, and what more there is to say.
const MEANT: [(&str, &str, &str); 31] = [
    ("action", "effect", ""),
    ("verb", "effect", ""),
    ("enabled", "mode", ", such as `mode: off`"),
    ("disabled", "mode", ", such as `mode: off`"),
    ("enable", "mode", ", such as `mode: off`"),
    ("dry_run", "mode", ": `mode: dry_run`"),
    ("until", "not_after", ""),
    ("expires", "not_after", ""),
    ("expires_at", "not_after", ""),
    ("end", "not_after", ""),
    ("from", "not_before", ""),
    ("since", "not_before", ""),
    ("start", "not_before", ""),
    ("tenant", "owner", ""),
    ("auth_id", "owner", ""),
    ("if", "when", ""),
    ("condition", "when", ""),
    ("conditions", "when", ""),
    ("expression", "when", ""),
    ("except", "unless", ""),
    ("exclude", "unless", ""),
    ("not", "unless", ""),
    ("schedule", "active", ""),
    ("windows", "active", ""),
    ("window", "active", ""),
    ("times", "active", ""),
    ("tz", "timezone", ""),
    ("zone", "timezone", ""),
    ("comment", "description", ""),
    ("user", "identity", ""),
    ("participant", "identity", ""),
];

/// What to do about a key that is none of the `known` ones of the map at `path`; `suggestion` finds the
/// nearest of them, which is slow.
pub(super) fn hint<'k>(
    key: &str,
    known: &[&'k str],
    path: &str,
    suggestion: impl FnOnce() -> Option<&'k str>,
) -> String {
    let glued = key
        .split_once(':')
        .is_some_and(|(key, _)| known.contains(&key));
    if glued {
        return SPACE_BEHIND_COLON.to_owned();
    }
    if let Some(hint) = elsewhere(key, key, known, path) {
        return hint;
    }
    if let Some((meant, more)) = meant(key, known) {
        let hint = elsewhere(meant, key, known, path);
        return hint.unwrap_or_else(|| format!("write `{meant}`{more}"));
    }
    let attribute = known == MATCH_KEYS;
    match suggestion() {
        Some(near) if attribute => {
            format!("did you mean {near}? an attribute stands below `attributes`")
        }
        Some(near) => format!("did you mean {near}?"),
        None if attribute => {
            let known = one_of(known);
            format!("an attribute stands below `attributes`; else {known}")
        }
        None => one_of(known),
    }
}

/// What was meant by a key that is another program's, or one of ours in another form.
fn meant(key: &str, here: &[&str]) -> Option<(&'static str, &'static str)> {
    if ![POLICY_KEYS, MATCH_KEYS, WINDOW_KEYS].contains(&here) {
        return None;
    }
    let known = MEANT
        .iter()
        .find(|(other, ..)| other.eq_ignore_ascii_case(key));
    let ours = || {
        let all = POLICY_KEYS.iter().chain(MATCH_KEYS).chain(WINDOW_KEYS);
        all.copied()
            .find(|ours| is_plainly(key, ours))
            .map(|ours| (ours, ""))
    };
    known.map(|(_, meant, more)| (*meant, *more)).or_else(ours)
}

/// Whether a key is one of ours in capitals, in the plural, or without its plural.
fn is_plainly(key: &str, ours: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    let one = |text: &str| match text.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => text.strip_suffix('s').unwrap_or(text).to_owned(),
    };
    one(&key) == one(ours)
}

/// Where a key belongs that stands in the map with these keys, and is one of another map's; what
/// is said where another word was written for it.
fn elsewhere(key: &str, written: &str, known: &[&str], path: &str) -> Option<String> {
    let here = path.rsplit('.').next().unwrap_or_default();
    let here = here.split('[').next().unwrap_or_default();
    let beside = || format!("beside `{here}`, not below it");
    let places: [(&[&str], &[&str], String); 9] = [
        (POLICY_KEYS, MATCH_KEYS, "below `match`".to_owned()),
        (POLICY_KEYS, WINDOW_KEYS, "below `active`".to_owned()),
        (
            MATCH_KEYS,
            WINDOW_KEYS,
            format!("below `active`, beside `{here}`"),
        ),
        (MATCH_KEYS, POLICY_KEYS, beside()),
        (WINDOW_KEYS, POLICY_KEYS, beside()),
        (WINDOW_KEYS, MATCH_KEYS, "below `match`".to_owned()),
        (
            &["policies"],
            POLICY_KEYS,
            "below `policies`, in an item of its list".to_owned(),
        ),
        (CASE_KEYS, SECTIONS, "below `facts`".to_owned()),
        (CASE_KEYS, OUTCOME_KEYS, "below `expect`".to_owned()),
    ];
    let mut places = places.into_iter();
    let (.., place) = places.find(|(here, there, _)| *here == known && there.contains(&key))?;
    Some(if key == written {
        format!("put it {place}")
    } else {
        format!("write `{key}`, and put it {place}")
    })
}
