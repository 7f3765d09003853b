//! Expressions mean what CEL says: cel's own interpreter is asked, by its other parser as well.
//!
//! CEL errs where a key is absent or has another type. There the harness says what policies say
//! instead, and checks that CEL does err: an absent key is bound to null for `==`, `!=` and `in`,
//! and a test of another kind that CEL refuses is false.
//!
//! Where the crate itself is not CEL, or CEL has more than policies, single tests are left out:
//! - It rounds an integer to a float to compare the two (CEL compares them exactly): integers
//!   beyond 2^53 beside a float. `value` has a test of its own for these.
//! - In CEL, null equals null, lists and maps equal by content, and false is before true. Policies
//!   compare text, numbers and flags, and order text and numbers.

use std::cell::Cell;

use cel::common::ast::{EntryExpr, Expr};
use cel::parser::{Parser, PrattParser};
use cel::{Context, IdedExpr, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value as Json;

use super::generate::{Term, Test, expression, facts, known};
use crate::{Expression, Tri};

/// At least this many cases; `PROPTEST_CASES` asks for more.
const CASES_MIN: u32 = 2_000;

fn config() -> Config {
    let asked = Config::default();
    Config {
        cases: asked.cases.max(CASES_MIN),
        max_global_rejects: 1 << 20,
        ..asked
    }
}

fn ask(text: &str, context: &Context<'_, '_>) -> Result<bool, String> {
    let tree = PrattParser::new()
        .parse(text)
        .unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    match Value::resolve(&tree, context) {
        Ok(Value::Bool(flag)) => Ok(flag),
        Ok(other) => panic!("{text} is {other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

/// What a term is, found as plainly as can be; none where a key is absent or has no size.
fn found(term: &Term, facts: &Json) -> Option<Json> {
    match term {
        Term::Literal(literal) => Some(literal.clone()),
        Term::Path(keys) => keys
            .iter()
            .try_fold(facts, |json, key| json.as_object()?.get(key))
            .cloned(),
        Term::Size(inner) => match found(inner, facts)? {
            Json::String(text) => Some(text.chars().count().into()),
            Json::Array(list) => Some(list.len().into()),
            Json::Object(map) => Some(map.len().into()),
            Json::Null | Json::Bool(_) | Json::Number(_) => None,
        },
    }
}

fn is_leaf(json: &Json) -> bool {
    matches!(json, Json::String(_) | Json::Number(_) | Json::Bool(_))
}

fn rounded(one: &Json, other: &Json) -> bool {
    let large = |json: &Json| {
        let exact = 1_u64 << 53;
        json.as_i64()
            .map(i64::unsigned_abs)
            .or(json.as_u64())
            .is_some_and(|n| n > exact)
    };
    one.is_f64() && large(other) || other.is_f64() && large(one)
}

/// The test as CEL is asked it, given what it will find.
fn asked(test: &Test, facts: &Json, context: &Context<'_, '_>) -> String {
    let bound = |term: &Term| match found(term, facts) {
        Some(_) => term.text(),
        None => "null".to_owned(),
    };
    match test {
        Test::Flag(term) => term.text(),
        Test::Compare(left, how @ ("==" | "!="), right) => {
            let (l, r) = (found(left, facts), found(right, facts));
            match (&l, &r) {
                // Each of the two is null, a list, a map or absent.
                (l, r) if ![l, r].into_iter().flatten().any(is_leaf) => (*how == "!=").to_string(),
                (Some(l), Some(r)) if rounded(l, r) => ours(test, facts),
                _ => format!("{} {how} {}", bound(left), bound(right)),
            }
        }
        Test::In(item, list) => {
            let item_found = found(item, facts).unwrap_or(Json::Null);
            let literals = list.iter().map(|literal| found(literal, facts).unwrap());
            if literals
                .into_iter()
                .any(|literal| rounded(&item_found, &literal))
            {
                return ours(test, facts);
            }
            let list: Vec<_> = list.iter().map(Term::text).collect();
            format!("{} in [{}]", bound(item), list.join(", "))
        }
        Test::Detail(item) => {
            let list = found(
                &Term::Path(vec!["participant".to_owned(), "kind_details".to_owned()]),
                facts,
            );
            assert!(
                list.is_some_and(|list| list.is_array()),
                "it is always there"
            );
            format!("{} in participant.kind_details", bound(item))
        }
        Test::Compare(left, _, right) | Test::Text(left, _, right) => {
            let order = matches!(test, Test::Compare(..));
            let fits = match (found(left, facts), found(right, facts)) {
                (Some(Json::String(_)), Some(Json::String(_))) => true,
                (Some(l @ Json::Number(_)), Some(r @ Json::Number(_))) if order => {
                    if rounded(&l, &r) {
                        return ours(test, facts);
                    }
                    true
                }
                (Some(Json::Bool(_)), Some(Json::Bool(_))) if order => return "false".to_owned(),
                _ => false,
            };
            let written = test.text();
            match ask(&written, context) {
                Ok(_) => {
                    assert!(fits, "CEL knows {written}");
                    written
                }
                Err(error) => {
                    assert!(!fits, "CEL errs on {written}: {error}");
                    "false".to_owned()
                }
            }
        }
        Test::Has(term) => {
            let written = test.text();
            // CEL errs where something before the last key is no map.
            match ask(&written, context) {
                Ok(_) => written,
                Err(error) => {
                    assert_eq!(found(term, facts), None, "CEL errs on {written}: {error}");
                    "false".to_owned()
                }
            }
        }
    }
}

/// Not asked of CEL, for a reason that stands above.
fn ours(test: &Test, known: &Json) -> String {
    let expression = Expression::parse(&test.text()).unwrap();
    (expression.holds(&facts(known)) == Tri::True).to_string()
}

#[test]
fn expressions_mean_what_cel_says() {
    let (held, failed) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(config());
    let result = runner.run(&(expression(), known()), |(spec, known)| {
        let text = spec.text(&mut Test::text);
        let ours = Expression::parse(&text).unwrap().holds(&facts(&known));
        let mut context = Context::default();
        for thing in ["room", "participant", "track", "event"] {
            context.add_variable_from_value(thing, cel::to_value(&known[thing]).unwrap());
        }
        let asked = spec.text(&mut |test| asked(test, &known, &context));
        let theirs = ask(&asked, &context);
        prop_assert_eq!(
            Ok(ours),
            theirs.clone().map(Tri::from),
            "{}\nasked as {}",
            text,
            asked
        );
        let count = if theirs == Ok(true) { &held } else { &failed };
        count.set(count.get() + 1);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // A generator whose expressions all fail would test little.
    let (held, failed): (u32, u32) = (held.get(), failed.get());
    assert!(
        held * 5 > failed && failed * 5 > held,
        "{held} held, {failed} did not"
    );
}

/// Numbers of nodes differ with the parser.
fn unnumbered(node: &mut IdedExpr) {
    node.id = 0;
    let below: Vec<&mut IdedExpr> = match &mut node.expr {
        Expr::Call(call) => call
            .target
            .as_deref_mut()
            .into_iter()
            .chain(&mut call.args)
            .collect(),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Comprehension(c) => vec![
            &mut c.iter_range,
            &mut c.accu_init,
            &mut c.loop_cond,
            &mut c.loop_step,
            &mut c.result,
        ],
        Expr::Map(map) => map
            .entries
            .iter_mut()
            .filter_map(|entry| {
                entry.id = 0;
                match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => Some([&mut entry.key, &mut entry.value]),
                    EntryExpr::StructField(_) => None,
                }
            })
            .flatten()
            .collect(),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => Vec::new(),
    };
    below.into_iter().for_each(unnumbered);
}

proptest! {
    #![proptest_config(Config::with_cases(64))]

    /// The parser that is used and the one that is generated from CEL's grammar.
    #[test]
    fn both_parsers_of_the_crate_build_the_same_tree(spec in expression()) {
        let text = spec.text(&mut Test::text);
        let mut ours = PrattParser::new().parse(&text).unwrap();
        let mut theirs = Parser::new().parse(&text).unwrap();
        unnumbered(&mut ours);
        unnumbered(&mut theirs);
        prop_assert_eq!(ours, theirs, "{}", text);
    }
}
