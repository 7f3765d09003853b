//! What texts of a policy look like that mean something else: globs that are regular expressions,
//! several names in one, owners that are no tenant.

use std::fmt;

use super::document::Policy;
use super::expression::Expression;
use super::node::quoted;
use super::regex;
use super::warn::Doubt;

/// What somebody probably took a text for that is compared as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Glob,
    Regex,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glob => "a glob",
            Self::Regex => "a regular expression",
        })
    }
}

impl Look {
    pub(super) fn of(text: &str) -> Option<Self> {
        // JSON has signs of its own.
        if text.contains('"') {
            None
        } else if regex::is_regex(text) {
            Some(Self::Regex)
        } else if has_star(text) || has_class(text) || has_alternatives(text) {
            Some(Self::Glob)
        } else if regex::is_like(text) {
            Some(Self::Regex)
        } else {
            None
        }
    }
}

/// A `*` at an end, or within a word: not that of a phone's codes (`*31#`), of rating (`***`) or of
/// markup (`**x**`).
fn has_star(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let letters = text.contains(char::is_alphabetic) && !text.contains("**");
    let within = text.match_indices('*').any(|(at, _)| {
        let (before, after) = text.split_at(at);
        let joins = |c: Option<char>| c.is_none_or(|c| !c.is_whitespace());
        joins(before.chars().next_back()) && joins(after.chars().nth(1))
    });
    letters && within
}

/// `[a-z]` or `h[ao]st`, and not `[guest]`.
fn has_class(text: &str) -> bool {
    let Some((before, rest)) = text.split_once('[') else {
        return false;
    };
    let Some((inside, after)) = rest.split_once(']') else {
        return false;
    };
    let class: Vec<char> = inside.trim_start_matches(['!', '^']).chars().collect();
    let ranges = class.chunks(3).all(|range| matches!(range, [_, '-', _]));
    let in_word =
        before.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric);
    !class.is_empty() && (ranges || in_word)
}

/// `{a,b}`.
fn has_alternatives(text: &str) -> bool {
    let inside = text
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    inside.is_some_and(|(inside, _)| {
        let parts = || inside.split(',');
        parts().count() > 1 && parts().all(|part| !part.is_empty()) && !inside.contains([' ', ':'])
    })
}

/// Names and values of a policy that mean less, or other, than they look like.
pub(super) fn doubts(policy: &Policy) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if let Some(owner) = policy.owner.as_str().filter(|owner| is_no_tenant(owner)) {
        doubts.push(Doubt {
            keys: &["owner"],
            message: format!(
                "an owner is one tenant, named in full, and this is {}",
                quoted(owner)
            ),
            hint: "leave `owner` out for the operator, whose policies are about every room".into(),
        });
    }
    let unless = policy.unless.as_ref();
    for (keys, globs, of_room) in [
        (
            ["match", "room"].as_slice(),
            Some(&policy.match_.room),
            true,
        ),
        (&["match", "identity"], Some(&policy.match_.identity), false),
        (&["unless", "room"], unless.map(|unless| &unless.room), true),
        (
            &["unless", "identity"],
            unless.map(|unless| &unless.identity),
            false,
        ),
    ] {
        let mut globs = globs.into_iter().flatten();
        doubts.extend(globs.find_map(|glob| of_glob(keys, glob, of_room)));
    }
    for (keys, condition) in [
        (["match", "attributes"].as_slice(), Some(&policy.match_)),
        (&["unless", "attributes"], unless),
    ] {
        let attributes = condition
            .into_iter()
            .flat_map(|condition| &condition.attributes);
        let mut values =
            attributes.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let found = values.find_map(|(name, value)| Some((name, value, Look::of(value)?)));
        if let Some((name, value, look)) = found {
            let asked = Expression::naming_attribute(name);
            let hint = match value.strip_suffix('*') {
                Some("") => format!("write `has({asked})` in `when` to ask whether it is there"),
                Some(start) if look == Look::Glob && Look::of(start).is_none() => {
                    format!(
                        "write `{asked}.startsWith({start:?})` in `when`, or list the values that are meant"
                    )
                }
                _ => "list the values that are meant, or use startsWith in `when`".to_owned(),
            };
            doubts.push(Doubt {
                keys,
                message: format!(
                    "attributes are compared exactly, and {} looks like {look}",
                    quoted(value)
                ),
                hint: hint.into(),
            });
        }
    }
    for doubt in policy.when.iter().flat_map(Expression::compared_exactly) {
        doubts.push(Doubt {
            keys: &["when"],
            message: doubt.message(),
            hint: doubt.hint().unwrap_or_default().to_owned().into(),
        });
    }
    doubts
}

fn is_no_tenant(owner: &str) -> bool {
    let word = owner.trim_matches(['(', ')']).to_lowercase();
    matches!(
        word.as_str(),
        "operator" | "all" | "any" | "everyone" | "none"
    ) || owner.contains(['*', '?', ',', ';', '|'])
        || Look::of(owner).is_some()
}

/// What is doubtful in a glob of rooms or identities.
fn of_glob(keys: &'static [&'static str], glob: &str, of_room: bool) -> Option<Doubt> {
    const AS_GLOB: &str = "write `*` for any text, `?` for a character, `{a,b}` for one of several";
    let doubt = |what: &str, hint: String| {
        Some(Doubt {
            keys,
            message: format!("this glob {what}: {}", quoted(glob)),
            hint: hint.into(),
        })
    };
    if let Some(names) = several_in_one(glob) {
        let hint = format!("write a list of them: `[{}]`", names.join(", "));
        return doubt("has several names in it", hint);
    }
    if let Some(trimmed) = glob.strip_suffix([',', ';', '，', '；']) {
        return doubt(
            "ends with a sign that is no part of a name",
            format!("write `{trimmed}`"),
        );
    }
    if glob.contains("${") || glob.starts_with("$(") {
        return doubt(
            "has a variable in it, which nothing replaces",
            "write the name itself".to_owned(),
        );
    }
    if has_odd_quote(glob) {
        return doubt(
            "has quotes in it, which are a part of the name",
            "take them out; quotes of YAML stand around the whole".to_owned(),
        );
    }
    if let Some(name) = glob
        .strip_prefix('!')
        .filter(|name| name.starts_with(char::is_alphanumeric))
    {
        let other = if keys.first() == Some(&"unless") {
            "match"
        } else {
            "unless"
        };
        return doubt(
            "starts with `!`, which turns nothing around",
            format!("put `{name}` in `{other}`, or `\\!{name}` for a name that starts so"),
        );
    }
    if regex::is_regex_in_glob(glob) || of_room && regex::is_regex_of_room(glob) {
        let what = if regex::is_like(glob) {
            "looks like a pattern of SQL"
        } else {
            "looks like a regular expression"
        };
        let of_room = glob
            .strip_suffix(".*")
            .filter(|_| of_room && regex::is_regex_of_room(glob));
        let meant = of_room
            .map(|start| format!("{start}*"))
            .or_else(|| regex::as_glob(glob));
        let meant = meant.filter(|meant| meant != glob);
        return doubt(
            what,
            meant.map_or_else(|| AS_GLOB.to_owned(), |meant| format!("write `{meant}`")),
        );
    }
    let plain = glob
        .split('\\')
        .skip(1)
        .find(|after| after.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if plain.is_some() && !glob.contains("\\\\") {
        return doubt(
            "has a `\\` in it, which makes the next character plain",
            format!(
                "write `{}` for a backslash, in single quotes",
                glob.replace('\\', "\\\\")
            ),
        );
    }
    None
}

/// The names that stand in one glob, where there are several.
fn several_in_one(glob: &str) -> Option<Vec<&str>> {
    let inside = glob
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(inside) = inside.filter(|inside| inside.contains([',', '"', '\'', ' '])) {
        let names: Vec<_> = inside
            .split([',', ' '])
            .map(|name| name.trim_matches(['"', '\'', ' ']))
            .filter(|name| !name.is_empty())
            .collect();
        return (names.len() > 1).then_some(names);
    }
    // `{a, b}` is one glob.
    if !glob.contains('{') {
        let names: Vec<_> = glob
            .split([';', '，', '、', '；'])
            .flat_map(|part| part.split(", "))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        if names.len() > 1 {
            return Some(names);
        }
    }
    let words: Vec<_> = glob.split(' ').filter(|word| !word.is_empty()).collect();
    let named = |word: &&str| {
        word.contains(['*', '-', '_'])
            && word.starts_with(|c: char| c.is_alphanumeric() || c == '*')
            && word.len() > 2
    };
    (words.len() > 1 && words.iter().all(named)).then_some(words)
}

/// A quote that is no apostrophe.
fn has_odd_quote(glob: &str) -> bool {
    const QUOTES: [char; 8] = ['\'', '"', '“', '”', '„', '‘', '’', '`'];
    let doubled = glob.matches('"').count() % 2 == 1;
    glob.starts_with(QUOTES) || glob.ends_with(QUOTES) || doubled
}
