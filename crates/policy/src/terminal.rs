//! Text that others wrote, as people may be shown it: cut, and without what a terminal obeys.

/// The text, or its first characters and `...` where it has more than `chars_max`.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A terminal obeys control characters, and what others wrote may have them: a participant's name, a document that nobody
/// checked here. What is not seen, or turns around what is beside it, is replaced as well.
#[must_use]
pub fn without_controls(text: &str) -> String {
    text.replace(
        |c: char| (c.is_control() && c != '\t') || is_format(c),
        "\u{fffd}",
    )
}

/// Characters that are not seen, or show others in another order than they stand in.
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
