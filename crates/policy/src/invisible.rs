//! Characters that nobody sees, and so nobody means: two names that look the same would differ.

/// Whether a character is invisible, or looks like a plain space and is none.
pub(super) fn is_invisible(c: char) -> bool {
    // Zs of Unicode and blank letters. Left out is U+3000, the space of Japanese keyboards.
    is_format(c)
        || matches!(
            c,
            '\u{a0}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{2000}'
                ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
        )
}

/// Whether a character has no width, and may change how the text beside it is shown.
pub(super) fn is_format(c: char) -> bool {
    // Zl, Zp and Cf of Unicode, joiners and selectors. Left out are visible ones: Arabic signs
    // around numbers.
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}'
    )
}

/// Whether prose may have it although it is invisible: French puts U+00A0 and U+202F before its signs, Persian
/// and emoji join by U+200C and U+200D, and text from right to left has marks.
pub(super) fn is_allowed_in_prose(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{202f}' | '\u{200c}'..='\u{200f}' | '\u{61c}' | '\u{ad}'
    )
}

/// What is wrong with a text of one line that has invisible characters, or blanks at its ends.
pub(super) fn in_line(text: &str) -> Option<String> {
    if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
        return Some(format!("has a sign in it that is not seen: {}", named(c)));
    }
    let blank = |c: &char| c.is_whitespace();
    let starts = text.chars().next().filter(blank);
    let ends = text.chars().next_back().filter(blank);
    match (starts, ends) {
        (Some(c), _) => Some(format!("starts with a blank ({})", named(c))),
        (None, Some(c)) => Some(format!("ends with a blank ({})", named(c))),
        (None, None) => None,
    }
}

/// The number of a character, and its name where people may know that.
pub(super) fn named(c: char) -> String {
    let name = match c {
        '\u{a0}' | '\u{202f}' => ", a no-break space",
        '\u{ad}' => ", a soft hyphen",
        '\u{200b}' => ", a space without width",
        '\u{200c}' | '\u{200d}' | '\u{2060}' => ", a joiner",
        '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            ", which turns the order of text around"
        }
        '\u{2028}' => ", a line separator",
        '\u{2029}' => ", a paragraph separator",
        '\u{85}' => ", a next-line sign",
        '\u{feff}' => ", a byte order mark",
        _ => "",
    };
    format!("U+{:04X}{name}", u32::from(c))
}

/// A line of YAML, with the invisible characters of an owner escaped: ids of tenants come from tokens
/// and may have any. A file with such a line is refused.
pub(super) fn with_visible_owner(line: &str) -> String {
    let hidden = |c: char| is_invisible(c) && !is_allowed_in_prose(c);
    let Some((key, owner)) = line.split_once("owner: ").filter(|_| line.contains(hidden)) else {
        return line.to_owned();
    };
    let mut shown = format!("{key}owner: \"");
    let quoted = owner
        .strip_prefix('"')
        .and_then(|owner| owner.strip_suffix('"'));
    let single = owner
        .strip_prefix('\'')
        .and_then(|owner| owner.strip_suffix('\''));
    let plain = single.map_or_else(|| owner.to_owned(), |owner| owner.replace("''", "'"));
    for c in quoted.unwrap_or(&plain).chars() {
        match c {
            _ if is_invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    shown.extend([format!("\\u{unit:04x}")]);
                }
            }
            '"' | '\\' if quoted.is_none() => shown.extend(['\\', c]),
            _ => shown.push(c),
        }
    }
    shown + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_text_is_not_in_the_way() {
        for seen in [
            "a b",
            "é",
            "e\u{301}",
            "会議\u{3000}室",
            "☀\u{fe0f}",
            "👍🏽",
            "שלום",
            "مرحبا",
            "\u{ffff}",
            "–",
            "",
        ] {
            assert_eq!(in_line(seen), None, "{seen:?}");
        }
        for (text, says) in [
            (
                "a\u{a0}b",
                "has a sign in it that is not seen: U+00A0, a no-break space",
            ),
            (
                "a\u{200b}",
                "has a sign in it that is not seen: U+200B, a space without width",
            ),
            ("\u{202e}a", "U+202E, which turns the order of text around"),
            ("a\u{2028}b", "U+2028, a line separator"),
            ("\u{feff}a", "U+FEFF, a byte order mark"),
            ("a\u{e0041}", "U+E0041"),
            ("a\u{2009}b", "U+2009"),
            (" a", "starts with a blank (U+0020)"),
            ("a ", "ends with a blank (U+0020)"),
            ("a\u{3000}", "ends with a blank (U+3000)"),
            (" ", "starts with a blank (U+0020)"),
        ] {
            let told = in_line(text).unwrap();
            assert!(told.ends_with(says), "{text:?} {told}");
        }
    }

    #[test]
    fn invisible_characters_of_owners_are_escaped() {
        for (line, expected) in [
            ("- owner: a\u{202e}b", "- owner: \"a\\u202eb\""),
            (
                "  owner: 'it''s \"\u{200b}'",
                "  owner: \"it's \\\"\\u200b\"",
            ),
            (
                "  owner: \"a\\\\\u{e0041}\"",
                "  owner: \"a\\\\\\udb40\\udc41\"",
            ),
            ("  owner: a\u{e9}", "  owner: a\u{e9}"),
            ("  reason: a\u{200d}b", "  reason: a\u{200d}b"),
        ] {
            assert_eq!(with_visible_owner(line), expected);
        }
    }

    /// `escape_debug` knows what is printed; of what it does not print, controls are refused elsewhere.
    #[test]
    fn no_character_that_prints_is_invisible() {
        let prints = |c: char| c == ' ' || !c.escape_debug().eq(c.escape_unicode());
        // Combining marks are escaped alone; they are seen on what is before them.
        let assigned = |c: &char| !matches!(u32::from(*c), 0x300..=0x36f);
        for c in ('\u{a0}'..='\u{2fff}').filter(assigned) {
            if is_invisible(c) && !matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}') {
                assert!(!prints(c), "{c:?}");
            }
        }
    }
}
