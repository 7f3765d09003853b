//! Documents from strangers: each is refused in words, soon, and nothing goes off.

mod words;

use std::time::{Duration, Instant};

use crate::case::CaseFile;
use crate::problem::PROBLEMS_MAX;
use crate::{Document, Policy, Problems};

/// The slowest of them takes a tenth of a second in a release build, and some 2 s in a debug build
/// on a busy machine. What is not bounded takes minutes, or all memory.
const SOON: Duration = Duration::from_secs(20);
const MEGABYTE: usize = 1 << 20;

fn soon<T>(name: &str, read: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let read = read();
    assert!(begun.elapsed() < SOON, "{name}: {:?}", begun.elapsed());
    read
}

fn check(name: &str, problems: &Problems, says: &str) {
    let told = problems.to_string();
    let start: String = told.chars().take(1_000).collect();
    assert!(told.contains(says), "{name}: {start}");
    assert!(problems.problems.len() <= PROBLEMS_MAX, "{name}");
    for problem in &problems.problems {
        let length = problem.to_string().chars().count();
        assert!(length < 2_000, "{name}: a message of {length}: {start}");
    }
}

fn yaml(name: &str, text: &str, says: &str) -> Problems {
    let problems = soon(name, || Document::load([("p.yaml", text)])).unwrap_err();
    check(name, &problems, says);
    problems
}

fn json(name: &str, text: &[u8], says: &str) -> Problems {
    let problems = soon(name, || Policy::from_json(text, &crate::Owner::Operator)).unwrap_err();
    check(name, &problems, says);
    problems
}

fn cases(name: &str, text: &str, says: &str) -> Problems {
    let problems = soon(name, || CaseFile::read("p.test.yaml", text)).unwrap_err();
    check(name, &problems, says);
    problems
}

/// A mute with more in it.
fn policy(more: &str) -> String {
    format!("policies:\n  - name: a\n    effect: mute\n    match: {{}}\n{more}\n")
}

/// A mute whose `match` has this in it.
fn matching(what: &str) -> String {
    format!("policies:\n  - name: a\n    effect: mute\n    match: {{ {what} }}\n")
}

fn numbered(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

#[test]
fn what_is_too_long_is_not_read() {
    let says = "this has more than 1048576 bytes; split it";
    yaml("a map", &"a: b\n".repeat(2 * MEGABYTE), says);
    yaml("a word", &"a".repeat(10 * MEGABYTE), says);
    yaml("open brackets", &"[".repeat(10 * MEGABYTE), says);
    json("open brackets", &b"[".repeat(10 * MEGABYTE), says);
    json("no text", &b"\xff".repeat(10 * MEGABYTE), says);
}

#[test]
fn what_is_nested_deep_is_refused_at_the_seventeenth_level() {
    let says = "lists and maps are nested deeper than 16";
    for (name, open, close) in [
        ("lists", "[", "]"),
        ("maps", "{a: ", "}"),
        ("keys that are maps", "{? ", "}"),
        ("both", "[{a: ", "}]"),
        ("never closed", "[", ""),
        ("block lists", "- ", ""),
        ("block keys", "? ", ""),
        ("block values", ": ", ""),
        ("anchored", "&a [", "]"),
    ] {
        for depth in [17, 10_000] {
            let text = format!("{}{}", open.repeat(depth), close.repeat(depth));
            let problems = yaml(name, &text, says);
            assert_eq!(problems.problems[0].line, Some(1), "{name}");
        }
    }
    let block = numbered(1_000, |depth| format!("{}a:\n", " ".repeat(depth)));
    yaml("block maps", &block, says);
    let parentheses = format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000));
    let when = policy(&format!("    when: '{parentheses}'"));
    yaml(
        "an expression",
        &when,
        "the expression has more than 1024 bytes",
    );
    for (name, open, close) in [("lists", "[", "]"), ("maps", "{\"a\":", "}")] {
        for depth in [200, 10_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            json(name, text.as_bytes(), "it is nested too deep");
        }
    }
}

#[test]
fn anchors_and_aliases_are_refused_however_many_there_are() {
    let laughs = |open: &str, of: fn(char) -> String, close: &str| {
        let first = format!("a: &a {open}{}{close}\n", of('a').replace("*a", "x"));
        ('b'..='h').fold(first, |text, name| {
            let before = char::from_u32(u32::from(name) - 1).unwrap();
            format!("{text}{name}: &{name} {open}{}{close}\n", of(before))
        })
    };
    let list = laughs("[", |name| format!("*{name},").repeat(9), "]");
    let map = laughs(
        "{",
        |name| numbered(9, |key| format!("k{key}: *{name},")),
        "}",
    );
    let merges = numbered(900, |i| {
        format!("a{i}: &a{i} {{<<: [*a{i},*a{i}], k: 1}}\n")
    });
    for (name, text, says) in [
        ("a list of lists", list, "1:4: `&` starts a YAML anchor"),
        ("a map of maps", map, "1:4: `&` starts a YAML anchor"),
        ("merges", merges, "1:5: `&` starts a YAML anchor"),
        (
            "aliases",
            format!("b: [{}]\n", "*a,".repeat(100_000)),
            "1:5: b[0]: `*` starts a YAML alias",
        ),
        (
            "anchors",
            numbered(50_000, |i| format!("- &a{i} x\n")),
            "1:3: `&` starts a YAML anchor",
        ),
        (
            "one anchor again and again",
            "- &a x\n".repeat(100_000),
            "and 99900 more",
        ),
        ("tags", "- !a x\n".repeat(100_000), "and 99900 more"),
        (
            "a list in itself",
            "a: &a [*a]\n".to_owned(),
            "1:8: a[0]: `*` starts a YAML alias",
        ),
        (
            "no anchor",
            "policies: *x\n".to_owned(),
            "1:11: policies: `*` starts a YAML alias",
        ),
    ] {
        yaml(name, &text, says);
        cases(name, &text, says);
    }
}

#[test]
fn lists_and_maps_have_an_end() {
    let many = |item: &str| item.repeat(100_000);
    for (name, text, says) in [
        (
            "globs",
            matching(&format!("room: [{}]", many("x,"))),
            "expected 1 to 100 values, found 100000",
        ),
        (
            "words",
            matching(&format!("source: [{}]", many("x,"))),
            "expected 1 to 100 values, found 100000",
        ),
        (
            "windows",
            policy(&format!("    active: [{}]", many("{},"))),
            "expected 1 to 100 values, found 100000",
        ),
        (
            "whole windows",
            policy(&format!(
                "    active: [{}]",
                "{cron: '0 0 * * *', duration: 1h, timezone: UTC},".repeat(10_000)
            )),
            "expected 1 to 100 values, found 10000",
        ),
        (
            "attributes",
            matching(&format!(
                "attributes: {{ {} }}",
                numbered(80_000, |i| format!("a{i}: x,"))
            )),
            "expected 1 to 100 attributes",
        ),
        (
            "an expression",
            policy(&format!("    when: [{}]", many("x,"))),
            "expected an expression, found a list",
        ),
        (
            "numbers",
            format!("policies: [{}]", "1,".repeat(500_000)),
            "there are more than 300000 values",
        ),
        (
            "lists",
            format!("policies: [{}]", "[],".repeat(300_000)),
            "there are more than 300000 values",
        ),
        (
            "policies",
            format!("policies: [{}]", many("{},")),
            "the key `name` is missing",
        ),
    ] {
        yaml(name, &text, says);
    }
}

/// Every problem is counted, and at most `PROBLEMS_MAX` are listed.
#[test]
fn no_number_of_faults_is_too_many() {
    for (name, text, says, count) in [
        (
            "unknown keys",
            policy(&numbered(80_000, |i| format!("    k{i}:\n"))),
            "there is no key \"k0\"",
            80_000,
        ),
        (
            "typos",
            policy(&"    nme:\n".repeat(90_000)),
            "did you mean name?",
            90_000,
        ),
        (
            "one key",
            policy(&"    mode:\n".repeat(80_000)),
            "stands here twice",
            80_000,
        ),
        (
            "keys of a file",
            numbered(100_000, |i| format!("k{i}:\n")),
            "there is no key \"k0\"; write policies",
            100_001,
        ),
        (
            "long keys",
            policy(&numbered(1_000, |i| {
                format!("    {}{i}:\n", "k".repeat(900))
            })),
            "there is no key",
            1_000,
        ),
        (
            "words",
            format!(
                "policies: [{}]",
                format!("{{match: {{source: [{}]}}}},", "X,".repeat(90)).repeat(3_000)
            ),
            "there is no source \"X\"",
            // No name and no effect, either.
            3_000 * 92,
        ),
    ] {
        let problems = yaml(name, &text, says);
        assert_eq!(problems.problems.len(), PROBLEMS_MAX, "{name}");
        assert_eq!(problems.left_off, count - PROBLEMS_MAX, "{name}");
    }
    let keys = numbered(4_000, |i| format!("\"k{i}\": 1,"));
    let body = format!("{{{keys} \"match\": {{}}, \"name\": \"a\", \"effect\": \"mute\"}}");
    assert_eq!(
        json("keys", body.as_bytes(), "there is no key").left_off,
        3_900
    );
}

/// Defaults stand in every test of a file: a megabyte of them in a thousand tests is a gigabyte.
#[test]
fn the_facts_of_tests_have_an_end() {
    let tests = |count: usize| numbered(count, |i| format!("- {{name: a{i}, expect: nothing}}\n"));
    let file = |metadata: &str, count: usize| {
        format!(
            "defaults: {{room: {{metadata: {metadata}}}}}\ntests:\n{}",
            tests(count)
        )
    };
    let says = "these facts are too many for each of 1000 tests; give long metadata in the tests";
    cases(
        "values",
        &file(&format!("[{}]", "1,".repeat(100_000)), 1_000),
        says,
    );
    cases("text", &file(&"x".repeat(900_000), 1_000), says);
    let keys = numbered(50_000, |i| format!("k{i}: 1,"));
    cases("keys", &file(&format!("{{{keys}}}"), 1_000), says);
    cases(
        "tests",
        &format!("tests:\n{}", tests(1_001)),
        "more than 1000 tests",
    );
    let endless = file(".nan", 1);
    cases(
        "no number",
        &endless,
        "\".nan\" may be read as another value",
    );
    for (name, text) in [
        (
            "short in many",
            file(&format!("[{}]", "1,".repeat(500)), 1_000),
        ),
        ("long in one", file(&"x".repeat(900_000), 1)),
    ] {
        soon(name, || CaseFile::read("p.test.yaml", &text)).unwrap();
    }
    let unknown = numbered(1_000, |i| {
        format!("- {{name: a{i}, expect: {{mute: p{i}}}}}\n")
    });
    let file = CaseFile::read("p.test.yaml", &format!("tests:\n{unknown}")).unwrap();
    let policies = numbered(3_000, |i| {
        format!("- {{name: q{i}, match: {{}}, effect: mute}}\n")
    });
    let policies = super::make::policies(&format!("policies:\n{policies}"));
    let problems = soon("names", || file.run(&policies)).unwrap_err();
    check("names", &problems, "there is no policy \"p0\" in the files");
    assert_eq!(problems.left_off, 900);
}
