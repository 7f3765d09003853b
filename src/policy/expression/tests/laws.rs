//! Laws that hold for any expression and any facts.

use proptest::prelude::*;

use super::generate::{Spec, Test, expression, facts, hidden, known};
use crate::policy::{Expression, Reads, Tri};

fn parse(spec: &Spec) -> Expression {
    super::parse(&spec.text(&mut Test::text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever the unknown facts turn out to be, a definite answer stands.
    #[test]
    fn knowing_more_never_changes_a_definite_answer(
        spec in expression(), known in known(), hide in any::<[bool; 12]>(), show in any::<[bool; 12]>(),
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
        spec in expression(), known in known(), hide in any::<[bool; 12]>(),
    ) {
        let expression = parse(&spec);
        let facts = hidden(&known, hide);
        let open = expression.reads().and(Reads::unknown_in(&facts));
        let holds = expression.holds(&facts);
        prop_assert!(holds != Tri::Unknown || !open.is_empty(), "{}", expression);
    }

    /// What is said to be always or never so is so, of the whole and of every part.
    #[test]
    fn no_warning_is_false(spec in expression(), known in proptest::collection::vec(known(), 8)) {
        let expression = parse(&spec);
        let mut wrong = Vec::new();
        for known in &known {
            let facts = facts(known);
            wrong.extend(expression.refuted(&facts));
        }
        prop_assert!(wrong.is_empty(), "{expression}: {wrong:?}");
    }

    #[test]
    fn an_explanation_is_of_a_part_that_does_not_hold(
        spec in expression(), known in known(), hide in any::<[bool; 12]>(),
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
