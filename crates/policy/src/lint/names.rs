//! Names and values of a policy that look as if they meant more, or something else: globs that are
//! regular expressions, several names in one, owners that are no tenant.

use crate::diagnostic::Lint;
use crate::expression::Expression;
use crate::lookalike::{Lookalike, regex};
use crate::policy::Policy;
use crate::terminal::quoted;

pub(super) fn lints(policy: &Policy) -> Vec<Lint> {
    let mut lints = Vec::new();
    if let Some(owner) = policy.owner.as_str().filter(|owner| is_no_tenant(owner)) {
        lints.push(Lint::new(
            &["owner"],
            format!(
                "an owner is one tenant, named in full, and this is {}",
                quoted(owner)
            ),
            "leave `owner` out for the operator, whose policies are about every room",
        ));
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
        lints.extend(globs.find_map(|glob| of_glob(keys, glob, of_room)));
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
        let found = values.find_map(|(name, value)| Some((name, value, Lookalike::of(value)?)));
        if let Some((name, value, look)) = found {
            let asked = Expression::naming_attribute(name);
            let hint = match value.strip_suffix('*') {
                Some("") => format!("write `has({asked})` in `when` to ask whether it is there"),
                Some(start) if look == Lookalike::Glob && Lookalike::of(start).is_none() => {
                    format!(
                        "write `{asked}.startsWith({start:?})` in `when`, or list the values that are meant"
                    )
                }
                _ => "list the values that are meant, or use startsWith in `when`".to_owned(),
            };
            let message = format!(
                "attributes are compared exactly, and {} looks like {look}",
                quoted(value)
            );
            lints.push(Lint::new(keys, message, hint));
        }
    }
    for problem in policy.when.iter().flat_map(Expression::lookalikes) {
        let hint = problem.hint().unwrap_or_default();
        lints.push(Lint::new(&["when"], problem.message(), hint));
    }
    lints
}

fn is_no_tenant(owner: &str) -> bool {
    let word = owner.trim_matches(['(', ')']).to_lowercase();
    matches!(
        word.as_str(),
        "operator" | "all" | "any" | "everyone" | "none"
    ) || owner.contains(['*', '?', ',', ';', '|'])
        || Lookalike::of(owner).is_some()
}

/// What is probably not meant in a glob of rooms or identities.
fn of_glob(keys: &'static [&'static str], glob: &str, of_room: bool) -> Option<Lint> {
    const AS_GLOB: &str = "write `*` for any text, `?` for a character, `{a,b}` for one of several";
    let lint = |what: &str, hint: String| {
        let message = format!("this glob {what}: {}", quoted(glob));
        Some(Lint::new(keys, message, hint))
    };
    if let Some(names) = several_in_one(glob) {
        let hint = format!("write a list of them: `[{}]`", names.join(", "));
        return lint("has several names in it", hint);
    }
    if let Some(trimmed) = glob.strip_suffix([',', ';', '，', '；']) {
        return lint(
            "ends with a sign that is no part of a name",
            format!("write `{trimmed}`"),
        );
    }
    if glob.contains("${") || glob.starts_with("$(") {
        return lint(
            "has a variable in it, which nothing replaces",
            "write the name itself".to_owned(),
        );
    }
    if has_odd_quote(glob) {
        return lint(
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
        return lint(
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
        return lint(
            what,
            meant.map_or_else(|| AS_GLOB.to_owned(), |meant| format!("write `{meant}`")),
        );
    }
    let plain = glob
        .split('\\')
        .skip(1)
        .find(|after| after.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if plain.is_some() && !glob.contains("\\\\") {
        return lint(
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
