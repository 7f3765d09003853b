//! Conditions: what is read answers by its laws, what is not has a caret under the fault.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use quell_fuzz::{problems, samples};
use quell_policy::{Expression, ExpressionProblem, Facts, Owner, Policy, Tri};

static KNOWN: LazyLock<Vec<Facts>> = LazyLock::new(samples::known);

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(problem) => return check_carets(&problem, text.trim()),
    };
    assert_eq!(expression.text(), text.trim());
    for known in &*KNOWN {
        let all = expression.holds(known);
        assert_ne!(all, Tri::Unknown, "all is known");
        for faded in samples::fading(known, input) {
            let less = expression.holds(&faded);
            assert!(
                less == Tri::Unknown || less == all,
                "{less:?}, then {all:?}"
            );
            check_reason(&expression, &faded, less);
        }
    }
    let document = serde_json::json!({
        "name": "fuzzed", "match": {}, "effect": "mute", "when": text,
    });
    match Policy::from_json(document.to_string().as_bytes(), &Owner::Operator) {
        Ok(checked) => {
            assert_eq!(checked.value.when, Some(expression));
            checked.warnings.iter().for_each(problems::check_message);
        }
        Err(refused) => panic!("an expression by itself, but no policy's: {refused}"),
    }
});

/// What is said to fail is a part of it, and does.
fn check_reason(expression: &Expression, facts: &Facts, holds: Tri) {
    let Some(reason) = expression.explain(facts) else {
        return assert_eq!(holds, Tri::True);
    };
    assert_eq!(reason.holds, holds);
    match Expression::parse(&reason.part) {
        Ok(part) => assert_eq!(part.holds(facts), holds, "{}", reason.part),
        Err(problem) => panic!("{}\n{problem}", reason.part),
    }
}

/// The fault is at a place of the text, and the carets are within the line that is shown, or
/// right behind it.
fn check_carets(problem: &ExpressionProblem, text: &str) {
    let shown = problem.to_string();
    assert!(!shown.trim().is_empty());
    let (Some(line), Some(column)) = (problem.line(), problem.column()) else {
        return;
    };
    let lines: Vec<_> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(&line), "{shown}");
    let chars = lines[line - 1].chars().count();
    assert!((1..=chars + 1).contains(&column), "{shown}");
    let message = problem.message();
    let mut pictured = message.lines().rev();
    let (Some(carets), Some(line)) = (pictured.next(), pictured.next()) else {
        panic!("no picture: {shown}");
    };
    let end = carets.chars().count();
    assert!(carets.ends_with('^'), "{shown}");
    assert!(end <= line.chars().count().max(4) + 1, "{shown}");
}
