//! Signs that no document has, wherever they stand: programs differ in whether a line ends there.

use super::syntax_error::SyntaxError;
use crate::invisible::named;
use crate::node::Place;

/// The first of these signs in a text.
pub(super) fn check(text: &str) -> Option<SyntaxError> {
    let mut line_start = 0;
    let mut line = 1_u64;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let (message, hint) = match c {
            '\n' => {
                line = line.saturating_add(1);
                line_start = at + 1;
                continue;
            }
            '\r' if next != Some('\n') => (
                "a line ends here by a carriage return alone (U+000D), which editors do not show"
                    .to_owned(),
                "save the file with line ends of Unix or of Windows",
            ),
            '\u{85}' | '\u{2028}' | '\u{2029}' => (
                format!(
                    "here is {}: some programs end the line there, and others do not",
                    named(c)
                ),
                "take it out, or press Enter instead",
            ),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => (
                format!("here is {}: what is shown is not what is read", named(c)),
                "take it out",
            ),
            _ => continue,
        };
        let column = text.get(line_start..at).unwrap_or_default().chars().count();
        let place = Place {
            line: Some(line),
            column: u64::try_from(column + 1).ok(),
        };
        return Some(SyntaxError {
            place,
            message,
            hint,
        });
    }
    None
}
