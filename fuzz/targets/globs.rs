//! Globs: a glob in the first line, names in those below it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quell_fuzz::samples;
use quell_policy::glob::Glob;
use quell_policy::{CompiledPolicy, Facts, Owner, Policy, PolicySet, Tri, decide};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut lines = text.split('\n');
    let pattern = lines.next().unwrap_or_default();
    let glob = match Glob::new(pattern) {
        Ok(glob) => glob,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let parts = Part::parse(&mut pattern.chars().peekable(), false);
    let indexed = Indexed::new(pattern);
    // A glob is tried on itself: names with special characters in them are names.
    for name in lines.chain([pattern, ""]) {
        let chars: Vec<_> = name.chars().collect();
        let ends = Part::ends(&parts, &chars, vec![0]);
        let expected = ends.contains(&chars.len());
        assert_eq!(glob.is_match(name), expected, "{pattern:?} and {name:?}");
        if let Some(indexed) = &indexed {
            indexed.check(name, expected);
        }
    }
});

/// A name that nothing is called.
const ELSE: &str = "\u{1}\u{1}";

/// A set of two policies that have the glob: for rooms and for identities.
struct Indexed {
    set: PolicySet,
    facts: Facts,
}

impl Indexed {
    /// None where a document does not take the glob: it has a control character.
    fn new(pattern: &str) -> Option<Self> {
        let policy = |name: &str, field: &str| {
            let document = serde_json::json!({
                "name": name, "match": {field: [pattern]}, "effect": "mute",
            });
            let policy = Policy::from_stored(&document, &Owner::Operator).ok()?;
            CompiledPolicy::new(&policy, 1).ok()
        };
        Some(Self {
            set: PolicySet::new([policy("of-room", "room")?, policy("of-who", "identity")?]),
            facts: samples::known().swap_remove(0),
        })
    }

    fn check(&self, name: &str, expected: bool) {
        let mut facts = self.facts.clone();
        name.clone_into(&mut facts.room.name);
        ELSE.clone_into(&mut facts.participant.identity);
        let other = is_found(&self.set, &facts, "of-who");
        assert_eq!(is_found(&self.set, &facts, "of-room"), expected, "{name:?}");
        facts.participant.identity.clone_from(&facts.room.name);
        ELSE.clone_into(&mut facts.room.name);
        assert_eq!(is_found(&self.set, &facts, "of-who"), expected, "{name:?}");
        assert_eq!(is_found(&self.set, &facts, "of-room"), other);
    }
}

fn is_found(set: &PolicySet, facts: &Facts, name: &str) -> bool {
    decide(set, facts, samples::noon())
        .trace
        .iter()
        .any(|candidate| &*candidate.policy.name == name && candidate.applies == Tri::True)
}

/// A glob as a tree: another way to read and to match it than quell's.
enum Part {
    One(Box<dyn Fn(char) -> bool>),
    Star,
    AnyOf(Vec<Vec<Part>>),
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

impl Part {
    /// The parts up to the end, or up to what ends an alternative.
    fn parse(chars: &mut Chars<'_>, in_alternation: bool) -> Vec<Self> {
        let mut parts = Vec::new();
        while let Some(c) = chars.peek().copied() {
            if in_alternation && matches!(c, ',' | '}') {
                break;
            }
            chars.next();
            parts.push(match c {
                '*' => Self::Star,
                '?' => Self::One(Box::new(|_| true)),
                '[' => Self::class(chars),
                '{' => {
                    let mut alternatives = vec![Self::parse(chars, true)];
                    while chars.next() == Some(',') {
                        alternatives.push(Self::parse(chars, true));
                    }
                    Self::AnyOf(alternatives)
                }
                '\\' => Self::plain(chars.next()),
                plain => Self::plain(Some(plain)),
            });
        }
        parts
    }

    fn plain(wanted: Option<char>) -> Self {
        Self::One(Box::new(move |c| Some(c) == wanted))
    }

    fn class(chars: &mut Chars<'_>) -> Self {
        let negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
        let mut members: Vec<(char, bool)> = Vec::new();
        // Each member, and whether it is escaped: an escaped one is never a `]` or a `-`.
        loop {
            match chars.next() {
                None => break,
                Some(']') if !members.is_empty() => break,
                Some('\\') => members.extend(chars.next().map(|c| (c, true))),
                Some(c) => members.push((c, false)),
            }
        }
        let mut ranges = Vec::new();
        let mut rest = members.as_slice();
        loop {
            rest = match rest {
                [] => break,
                [(from, _), ('-', false), (to, _), after @ ..] => {
                    ranges.push(*from..=*to);
                    after
                }
                [(only, _), after @ ..] => {
                    ranges.push(*only..=*only);
                    after
                }
            };
        }
        Self::One(Box::new(move |c| {
            ranges.iter().any(|range| range.contains(&c)) != negated
        }))
    }

    /// Where in the name these parts can end that start at any of `starts`.
    fn ends(parts: &[Self], name: &[char], starts: Vec<usize>) -> Vec<usize> {
        parts.iter().fold(starts, |starts, part| {
            let mut ends: Vec<_> = match part {
                Self::One(takes) => starts
                    .into_iter()
                    .filter(|start| name.get(*start).is_some_and(|c| takes(*c)))
                    .map(|start| start + 1)
                    .collect(),
                Self::Star => match starts.into_iter().min() {
                    Some(first) => (first..=name.len()).collect(),
                    None => Vec::new(),
                },
                Self::AnyOf(alternatives) => alternatives
                    .iter()
                    .flat_map(|parts| Self::ends(parts, name, starts.clone()))
                    .collect(),
            };
            ends.sort_unstable();
            ends.dedup();
            ends
        })
    }
}
