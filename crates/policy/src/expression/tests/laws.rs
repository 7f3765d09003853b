//! Laws that hold for any expression and any facts.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value as Json;

use super::generate::{Spec, Test, expression, facts, hidden, known};
use crate::expression::ir::Logic;
use crate::expression::lint::{self, Limits};
use crate::facts::{Kind, Source, TrackType};
use crate::text::TextReader;
use crate::{Expression, Facts, Reads, Tri};

fn parse(spec: &Spec) -> Expression {
    super::parse(&spec.text(&mut Test::text))
}

/// Words of a `match`, of which some take part.
fn words() -> impl Strategy<Value = [Vec<&'static str>; 3]> {
    let some = |words: &'static [&'static str]| subsequence(words, 0..3);
    (
        some(Source::WORDS),
        some(TrackType::WORDS),
        some(Kind::WORDS),
    )
        .prop_map(<[_; 3]>::from)
}

/// The parts of which a lint says that they are always or never true, and that are not of these facts.
fn wrong(expression: &Expression, facts: &Facts, limits: Limits<'_>) -> Vec<String> {
    let mut found = Vec::new();
    lint::find(&expression.0.root, limits, &mut found);
    let mut wrong = Vec::new();
    let mut nodes = vec![&expression.0.root];
    while let Some(node) = nodes.pop() {
        match &node.what {
            Logic::Not(inner) => nodes.push(inner),
            Logic::All(parts) | Logic::Any(parts) => nodes.extend(parts),
            Logic::Test(_) => {}
        }
        let said = found.iter().find(|(span, _)| *span == node.span);
        if said.is_some_and(|(_, always)| {
            node.holds(facts, &mut TextReader::default()) != (*always).into()
        }) {
            wrong.push(node.span.text(expression.text()).to_owned());
        }
    }
    wrong
}

/// What is said of an expression, and is not so of these facts: without a `match`, and with one of
/// these words and those of the facts.
fn wrong_lints(
    expression: &Expression,
    known: &Json,
    words: &[Vec<&'static str>; 3],
) -> Vec<String> {
    let facts = facts(known);
    let mut wrong = wrong(expression, &facts, &[]);
    let names = ["track.source", "track.type", "participant.kind"];
    let mut limits = Vec::new();
    for (name, words) in names.into_iter().zip(words) {
        let (thing, key) = name.split_once('.').unwrap();
        let word = known[thing][key].as_str().unwrap();
        let mut words: Vec<&str> = words.clone();
        if word == "HOLOGRAM" {
            words.clear();
        } else if !words.is_empty() {
            words.push(word);
        }
        limits.push((name, words));
    }
    wrong.extend(self::wrong(expression, &facts, &limits));
    wrong
}

/// Texts that often start, end or contain one another.
const NEAR: &str = "[ab]{0,3}";

/// An expression about few things, so that its parts often contradict one another.
fn near() -> impl Strategy<Value = Expression> {
    let thing = || {
        select(vec![
            "room.name",
            "participant.attributes.a",
            "room.metadata.a",
        ])
    };
    let how = || select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let tests = select(vec!["startsWith", "endsWith", "contains"]);
    let sized = thing().prop_map(|thing| format!("size({thing})"));
    let twice = prop_oneof![
        thing().prop_map(str::to_owned),
        sized,
        Just("room.num_participants".to_owned())
    ];
    let kinds = vec(select(Kind::WORDS), 1..4);
    let test = prop_oneof![
        6 => (thing(), tests, NEAR).prop_map(|(of, how, with)| format!("{of}.{how}('{with}')")),
        3 => (thing(), how(), NEAR).prop_map(|(of, how, with)| format!("{of} {how} '{with}'")),
        2 => (how(), 0..4).prop_map(|(how, n)| format!("room.num_participants {how} {n}")),
        1 => (twice, how()).prop_map(|(of, how)| format!("{of} {how} {of}")),
        1 => kinds.prop_map(|kinds| format!("participant.kind in {kinds:?}")),
    ];
    let joined = test.prop_recursive(3, 16, 8, |inner| {
        let joined = (vec(inner.clone(), 2..9), select(vec![" && ", " || "]));
        prop_oneof![
            inner.prop_map(|inner| format!("!({inner})")),
            joined.prop_map(|(parts, by)| format!("({})", parts.join(by))),
        ]
    });
    joined.prop_filter_map("too many nodes", |text| Expression::parse(&text).ok())
}

/// Facts that such an expression is often true of, and often not.
fn near_facts() -> impl Strategy<Value = Json> {
    let there = prop_oneof![
        4 => NEAR.prop_map(Json::from),
        1 => Just(Json::Null),
        1 => (0..3).prop_map(Json::from),
    ];
    (known(), NEAR, proptest::option::of(NEAR), there).prop_map(|(mut known, name, own, there)| {
        known["room"]["name"] = name.into();
        known["room"]["metadata"] = serde_json::json!({ "a": there });
        if let Some(own) = own {
            known["participant"]["attributes"]["a"] = own.into();
        }
        known
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever the unknown facts turn out to be, a definite answer stands.
    #[test]
    fn knowing_more_never_changes_a_definite_answer(
        spec in expression(), known in known(), hide in any::<[bool; 13]>(), show in any::<[bool; 13]>(),
    ) {
        let expression = parse(&spec);
        let less = expression.holds(&hidden(&known, hide));
        let mut left = hide;
        for (left, show) in left.iter_mut().zip(show) {
            *left &= !show;
        }
        let more = expression.holds(&hidden(&known, left));
        prop_assert!(less == Tri::Unknown || less == more, "{expression}: {less:?}, then {more:?}");
    }
}

proptest! {
    #[test]
    fn an_answer_on_known_facts_is_definite(spec in expression(), known in known()) {
        let expression = parse(&spec);
        prop_assert_ne!(expression.holds(&facts(&known)), Tri::Unknown, "{}", expression);
    }

    /// What an expression does not read leaves nothing open.
    #[test]
    fn only_what_is_read_can_leave_it_open(
        spec in expression(), known in known(), hide in any::<[bool; 13]>(),
    ) {
        let expression = parse(&spec);
        let facts = hidden(&known, hide);
        let open = expression.reads().and(Reads::unknown_in(&facts));
        let holds = expression.holds(&facts);
        prop_assert!(holds != Tri::Unknown || !open.is_empty(), "{}", expression);
    }

    /// What is said to be always or never so is so, of the whole and of every part.
    #[test]
    fn no_lint_is_false(
        spec in expression(), known in vec(known(), 8), words in words(),
    ) {
        let expression = parse(&spec);
        let wrong: Vec<_> = known.iter().flat_map(|known| wrong_lints(&expression, known, &words)).collect();
        prop_assert!(wrong.is_empty(), "{expression}: {wrong:?}");
    }

    #[test]
    fn no_lint_of_parts_that_contradict_one_another_is_false(
        expression in near(), known in vec(near_facts(), 24), words in words(),
    ) {
        let wrong: Vec<_> = known.iter().flat_map(|known| wrong_lints(&expression, known, &words)).collect();
        prop_assert!(wrong.is_empty(), "{expression}: {wrong:?}");
    }

    #[test]
    fn an_explanation_is_of_a_part_that_does_not_hold(
        spec in expression(), known in known(), hide in any::<[bool; 13]>(),
    ) {
        let expression = parse(&spec);
        let facts = hidden(&known, hide);
        let holds = expression.holds(&facts);
        match expression.explain(&facts) {
            None => prop_assert_eq!(holds, Tri::True),
            Some(reason) => {
                prop_assert_eq!(reason.holds, holds);
                // The part is an expression by itself, and fails as the whole does.
                prop_assert_eq!(super::parse(&reason.part).holds(&facts), holds, "{}", reason.part);
            }
        }
    }

    /// Whatever is written is read or refused, soon; nothing panics.
    #[test]
    fn any_text_is_read_or_refused(
        text in r#"(\PC|\n|\t|room|track|\.|name|source| |==|&&|\|\||!|<|in|\[|\]|\(|\)|\{|\}|"|'|\\|,|has\(|size\(|-|5|2\.5|:|\?|x|r"|b'){0,40}"#,
    ) {
        match Expression::parse(&text) {
            Ok(expression) => prop_assert_eq!(expression.text(), text.trim()),
            Err(problem) => {
                let lines = text.trim().lines().count().max(1);
                prop_assert!(problem.line().is_none_or(|line| (1..=lines).contains(&line)), "{}", problem);
                // The carets are within the line that is shown, or right behind it.
                let shown = problem.to_string();
                let mut pictured = shown.lines().skip(1);
                if let (Some(line), Some(carets)) = (pictured.next(), pictured.next()) {
                    let end = carets.find('^').unwrap() + carets.matches('^').count();
                    prop_assert!(end <= line.chars().count().max(4) + 1, "{}", shown);
                }
            }
        }
    }
}
