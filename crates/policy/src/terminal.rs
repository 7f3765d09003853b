//! Text that others wrote, as messages and terminals may be given it: cut, quoted, without control
//! characters.

use super::invisible::is_format;

/// The first `chars_max` characters of a text, and `...` where there are more.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Messages show at most this many characters of a text.
pub(crate) const SHOWN_CHARS_MAX: usize = 60;

/// A text in quotes with escapes, of which at most 60 characters are shown.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// Replaces what a terminal would obey (control characters), and invisible characters that may change
/// how the text beside them is shown: participants choose their names, and nobody checked them.
#[must_use]
pub fn without_controls(text: &str) -> String {
    text.replace(
        |c: char| (c.is_control() && c != '\t') || is_format(c),
        "\u{fffd}",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        for (text, expected) in [
            ("", ""),
            ("äöü", "äöü"),
            ("äöüß", "äöü..."),
            ("👍🏽👍🏽", "👍🏽👍..."),
        ] {
            assert_eq!(cut(text, 3), expected);
        }
        assert_eq!(quoted("a\n\""), r#""a\n\"""#);
        assert_eq!(quoted(&"ä".repeat(60)), format!("{:?}", "ä".repeat(60)));
        assert_eq!(quoted(&"ä".repeat(61)), format!("{:?}...", "ä".repeat(60)));
    }

    #[test]
    fn no_text_hides_or_turns_around_what_is_beside_it() {
        for c in [
            '\u{200b}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
        ] {
            assert_eq!(without_controls(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        let plain = "ä€ 漢字 עברית\t\u{2026}";
        assert_eq!(without_controls(plain), plain);
    }
}
