use proptest::prelude::*;

use crate::glob::{GLOB_CHARS_MAX, Glob, GlobError, Shape};

#[test]
fn globs_match_whole_names() {
    for (glob, yes, no) in [
        (
            "webinar-*",
            vec![
                "webinar-",
                "webinar-1",
                "webinar-a/b",
                "webinar-a\nb",
                "webinar-*",
            ],
            vec!["", "webinar", "Webinar-1", "x-webinar-1"],
        ),
        ("*", vec!["", "a", "a/b/../c", "\n", "ünï", "🎤"], vec![]),
        ("**/x", vec!["/x", "a/x", "a/b/x"], vec!["x"]),
        (
            "a?c",
            vec!["abc", "a/c", "a\nc", "aéc", "a🎤c"],
            vec!["ac", "abbc"],
        ),
        ("[a-c][!0-9]", vec!["ax", "cé"], vec!["a1", "dx", "a", ""]),
        ("[é-ö]", vec!["é", "ö"], vec!["a", "\u{c3}"]),
        ("[]x]", vec!["]", "x"], vec!["a"]),
        ("[a-]", vec!["a", "-"], vec!["b"]),
        ("[-a]", vec!["a", "-"], vec!["b"]),
        (r"[\]]", vec!["]"], vec!["\\"]),
        (
            "{host,staff}-*",
            vec!["host-1", "staff-"],
            vec!["guest-1", "host"],
        ),
        ("a{,b}c", vec!["ac", "abc"], vec!["a", "abbc"]),
        ("{a*,*b}", vec!["a", "ax", "b", "xb"], vec!["x", "bx"]),
        ("a,b", vec!["a,b"], vec!["a", "b"]),
        ("x{,a*}*", vec!["x", "xa", "xb", "xba"], vec!["", "ax"]),
        ("x{a*,}*y", vec!["xy", "xay", "xby"], vec!["x"]),
        (r"*\*{,a*}*", vec!["*?", "*", "b*a"], vec!["?"]),
        (r"\*\?\[\{\}\\", vec![r"*?[{}\"], vec!["x"]),
        ("a*b*c", vec!["abc", "aXbYc", "abbcc"], vec!["acb", "ab"]),
        ("+49*", vec!["+4917"], vec!["49", "4949"]),
        ("a.b", vec!["a.b"], vec!["axb"]),
    ] {
        let compiled = Glob::new(glob).unwrap();
        for name in yes {
            assert!(compiled.is_match(name), "{glob:?} should match {name:?}");
        }
        for name in no {
            assert!(
                !compiled.is_match(name),
                "{glob:?} should not match {name:?}"
            );
        }
    }
}

#[test]
fn globs_that_do_not_compile_say_why() {
    for (glob, error) in [
        ("", GlobError::Empty),
        ("a[bc", GlobError::UnclosedClass),
        ("[]", GlobError::UnclosedClass),
        (r"[a\", GlobError::UnclosedClass),
        ("[z-a]", GlobError::BackwardRange('z', 'a')),
        ("{a,b", GlobError::UnclosedAlternates),
        ("a}b", GlobError::UnopenedAlternates),
        ("{a,{b,c}}", GlobError::NestedAlternates),
        ("a\\", GlobError::DanglingEscape),
    ] {
        assert_eq!(Glob::new(glob).unwrap_err(), error, "{glob:?}");
    }
    assert!(Glob::new(&"é".repeat(GLOB_CHARS_MAX)).is_ok());
    assert_eq!(
        Glob::new(&"é".repeat(GLOB_CHARS_MAX + 1)).unwrap_err(),
        GlobError::TooLong
    );
}

#[test]
fn no_glob_is_slow() {
    let glob = Glob::new(&"*a".repeat(GLOB_CHARS_MAX / 2)).unwrap();
    assert!(!glob.is_match(&("a".repeat(5_000) + "b")));
}

proptest! {
    /// Without what makes a path a path, globset is right, and so must we be.
    #[test]
    fn agrees_with_globset_on_plain_names(
        glob in r"([a-c.+-]|\*|\?|\[!?[a-c]{1,2}\]|\{[a-c*?]{0,3},[a-c*?]{0,3}\}|\\[*?a]){1,8}",
        name in "[a-c*?.+-]{0,8}",
    ) {
        // `**` alone is globset's path business; to us it is the same as `*`.
        let mut glob = glob;
        while glob.contains("**") {
            glob = glob.replace("**", "*");
        }
        let oracle = globset::GlobBuilder::new(&glob)
            .literal_separator(false)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .unwrap()
            .compile_matcher();
        prop_assert_eq!(Glob::new(&glob).unwrap().is_match(&name), oracle.is_match(&name));
    }

    /// What an index looks for is in every name that the glob matches.
    #[test]
    fn a_name_that_matches_has_the_text_that_the_glob_is_found_by(
        glob in r"([ab]{1,3}|\*?|\*|\?|\[ab\]|\{[ab*]{0,2},[ab?]{0,2}\}|\{[ab*]{0,2}\}){1,5}",
        name in "[ab*]{0,8}",
    ) {
        let Ok(glob) = Glob::new(&glob) else {
            return Ok(());
        };
        if glob.is_match(&name) {
            let has = match glob.shape() {
                Shape::Whole(text) => name == text,
                Shape::Start(text) => name.starts_with(text),
                Shape::End(text) => name.ends_with(&text),
                Shape::Inside(text) => name.contains(&text),
            };
            prop_assert!(has, "{:?}", glob.shape());
        }
    }

    /// A name with every special character escaped matches itself and nothing longer.
    #[test]
    fn escaped_text_is_plain(name in r"\PC{1,20}", more in r"\PC{1,3}") {
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        let glob = Glob::new(&escaped).unwrap();
        prop_assert!(glob.is_match(&name));
        let longer = format!("{name}{more}");
        prop_assert!(!glob.is_match(&longer));
    }

    /// Whatever is written either compiles or is refused; nothing panics.
    #[test]
    fn any_text_compiles_or_is_refused(glob in r"[\[\]{},!^\\*?a-cé-]{0,20}", name in r"[a-cé]{0,8}") {
        if let Ok(glob) = Glob::new(&glob) {
            std::hint::black_box(glob.is_match(&name));
        }
    }
}
