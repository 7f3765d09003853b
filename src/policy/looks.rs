//! What a text looks like that is taken as it is: a glob, or a regular expression.

use std::fmt;

use super::document::Policy;
use super::expression::Expression;
use super::warn::Doubt;

/// What somebody probably took a text for.
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
    /// Of a text that is compared as it is.
    pub(super) fn of(text: &str) -> Option<Self> {
        // JSON has brackets of its own.
        let within = |open, close| {
            let after = text.split_once(open).map(|(_, after): (_, &str)| after);
            after.is_some_and(|after| after.contains(close)) && !text.contains('"')
        };
        if Self::is_regex(text) {
            Some(Self::Regex)
        } else if text.contains('*') || within('[', ']') || within('{', '}') {
            Some(Self::Glob)
        } else {
            None
        }
    }

    /// Whether a glob says what no name has, and what regular expressions are full of.
    pub(super) fn is_regex(text: &str) -> bool {
        const SIGNS: [&str; 12] = [
            "\\d", "\\w", "\\s", "\\b", "\\.", "]+", ")+", ")*", ")?", "(?", ".+", ".*$",
        ];
        let alternatives = text.split_once('(').is_some_and(|(_, after)| {
            let inside = after.split_once(')').map_or("", |(inside, _)| inside);
            inside.contains('|')
        });
        // `user.*` is a glob as well: names have dots.
        let any = |(at, _)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            before.is_none_or(|c| !c.is_alphanumeric())
        };
        alternatives
            || text.starts_with('^')
            || text.len() > 1 && text.ends_with('$')
            || SIGNS.iter().any(|sign| text.contains(sign))
            || text.match_indices(".*").any(any)
    }
}

/// Names and values of a policy that mean less, or other, than they look like.
pub(super) fn doubts(policy: &Policy) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if let Some(owner) = policy.owner.as_deref() {
        let operator = matches!(owner.trim_matches(['(', ')']), "operator");
        if operator || owner.contains(['*', '?']) || Look::of(owner).is_some() {
            doubts.push(Doubt {
                keys: &["owner"],
                message: "an owner is one tenant, named in full".to_owned(),
                hint: "leave `owner` out for the operator, whose policies are about every room"
                    .into(),
            });
        }
    }
    let unless = policy.unless.as_ref();
    for (keys, globs) in [
        (["match", "room"].as_slice(), Some(&policy.match_.room)),
        (&["match", "identity"], Some(&policy.match_.identity)),
        (&["unless", "room"], unless.map(|unless| &unless.room)),
        (
            &["unless", "identity"],
            unless.map(|unless| &unless.identity),
        ),
    ] {
        if globs.into_iter().flatten().any(|glob| Look::is_regex(glob)) {
            doubts.push(Doubt {
                keys,
                message: "this is a glob, and looks like a regular expression".to_owned(),
                hint: "write `*` for any text, `?` for a character, `{a,b}` for one of several"
                    .into(),
            });
        }
    }
    for (keys, condition) in [
        (["match", "attributes"].as_slice(), Some(&policy.match_)),
        (&["unless", "attributes"], unless),
    ] {
        let values = condition.into_iter().flat_map(|c| c.attributes.values());
        if let Some(look) = values.flatten().find_map(|value| Look::of(value)) {
            doubts.push(Doubt {
                keys,
                message: format!("attributes are compared exactly: this looks like {look}"),
                hint: "list the values that are meant, or use startsWith in `when`".into(),
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
