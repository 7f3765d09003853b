//! Text from strangers is refused in no time, with a reason.

use std::time::{Duration, Instant};

use super::super::scan::{BRACKET_DEPTH_MAX, EXPRESSION_BYTES_MAX};
use crate::Expression;

/// Generous for a debug build on a busy machine; what is not bounded takes far longer.
const SOON: Duration = Duration::from_millis(500);

fn refused(text: &str) -> String {
    let begun = Instant::now();
    let problem = Expression::parse(text).unwrap_err();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    problem.to_string()
}

#[test]
fn nesting_is_counted_before_anything_recurses() {
    let nested =
        |depth: usize, inner: &str| format!("{}{inner}{}", "(".repeat(depth), ")".repeat(depth));
    let inner = "room.active_recording";
    assert!(Expression::parse(&nested(BRACKET_DEPTH_MAX, inner)).is_ok());
    for depth in [BRACKET_DEPTH_MAX + 1, 500] {
        let problem = refused(&nested(depth, "x"));
        assert!(problem.contains("nested deeper than 16"), "{problem}");
    }
    // Each bracket with an operator of its own is a level of the parser's own.
    let levels = |depth: usize| format!("{}true{}", "true && (".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&levels(BRACKET_DEPTH_MAX)).is_ok());
    assert!(refused(&levels(BRACKET_DEPTH_MAX + 1)).contains("nested deeper"));
    let lists = format!("{}{}", "[".repeat(500), "]".repeat(500));
    assert!(refused(&lists).contains("nested deeper"));
    // In text, brackets are letters.
    let text = format!("room.name == '{}'", "(".repeat(500));
    assert!(Expression::parse(&text).is_ok());
    for unclosed in ["(", "[", "{", "has(", "room.metadata['"] {
        refused(&unclosed.repeat(16));
        refused(&unclosed.repeat(17));
    }
}

#[test]
fn length_is_counted_before_anything_is_read() {
    let megabyte = 1 << 20;
    for text in [
        "(".repeat(10_000) + &")".repeat(10_000),
        "x".repeat(megabyte),
        "room.name == '".to_owned() + &"x".repeat(megabyte) + "'",
        "!".repeat(megabyte) + "room.active_recording",
        "room.num_participants in [".to_owned() + &"1, ".repeat(100_000) + "1]",
        "\u{0}".repeat(megabyte),
        "🎤".repeat(megabyte),
    ] {
        assert!(refused(&text).contains("more than 1024 bytes"));
    }
    let fits = |text: &str| text.repeat(EXPRESSION_BYTES_MAX / text.len());
    for text in [
        "-", "!-", "a.", "a?b:", "x==", "1,", "''", "\\", "\"", "a[0]", "&&", "é", "- ", "b'",
    ] {
        refused(&fits(text));
        refused(
            &(fits(text)
                .get(..EXPRESSION_BYTES_MAX - 8)
                .unwrap_or_default()
                .to_owned()
                + "true"),
        );
    }
}

#[test]
fn what_fits_is_deep_in_no_other_way() {
    let fits = |prefix: &str, rest: &str| {
        let times = (EXPRESSION_BYTES_MAX - rest.len()) / prefix.len();
        format!("{}{rest}", prefix.repeat(times))
    };
    // Pairs cancel out: one is left, or none.
    let nots = Expression::parse(&fits("!", "room.active_recording")).unwrap();
    assert_eq!(nots.text().len(), EXPRESSION_BYTES_MAX);
    for text in [
        fits("!-", "room.active_recording"),
        fits("true?", "true") + ":true",
        fits("true?true:", "true"),
        fits("room.", "name"),
        format!("room{}", "['a']".repeat(200)),
        fits("1<", "1"),
        fits("1+", "1"),
        fits("!true&&", "true"),
        fits("true||", "true"),
    ] {
        refused(&text);
    }
    let macros = format!("room.metadata{}", ".all(x,x)".repeat(100));
    refused(&macros);
    let nested = format!("{}true{}", "[1].all(x,".repeat(16), ")".repeat(16));
    refused(&nested);
}
