//! What can be a caller's id: text that can be shown and stored, and that nobody takes for the
//! command line's word in the audit.

use quell_policy::terminal::without_controls;

/// What the audit's `actor` begins with where somebody acted by the command line.
pub(crate) const COMMAND_LINE: &str = "cli:";
/// The longest id, in characters. Ids are written to the audit: none may grow without end.
pub(crate) const CHARS_MAX: usize = 256;

/// Why a text is no caller's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdFault {
    #[error("is blank")]
    Blank,
    #[error("has control characters")]
    Control,
    #[error("is longer than {CHARS_MAX} characters")]
    Long,
    #[error("begins with {COMMAND_LINE}, which the audit keeps for the command line")]
    CommandLine,
}

/// What keeps `text` from being a caller's id.
pub(crate) fn fault(text: &str) -> Option<IdFault> {
    if text.trim().is_empty() {
        Some(IdFault::Blank)
    } else if text.chars().any(char::is_control) {
        Some(IdFault::Control)
    } else if seen(text).next().is_none() {
        Some(IdFault::Blank)
    } else if text.chars().count() > CHARS_MAX {
        Some(IdFault::Long)
    } else if looks_like_command_line(text) {
        Some(IdFault::CommandLine)
    } else {
        None
    }
}

/// As a person reads it, in any case.
fn looks_like_command_line(text: &str) -> bool {
    let start: String = seen(text).take(COMMAND_LINE.len()).collect();
    start.eq_ignore_ascii_case(COMMAND_LINE)
}

/// Without what is not seen.
fn seen(text: &str) -> impl Iterator<Item = char> {
    let shown: Vec<char> = without_controls(text).chars().collect();
    let is_seen = |c: &char| *c != '\u{fffd}' && !c.is_whitespace();
    shown.into_iter().filter(is_seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_text_that_can_be_shown_and_stored_and_is_not_the_command_lines() {
        let longest = "x".repeat(CHARS_MAX);
        for good in [
            "acme",
            " acme ",
            "Zoë",
            "0",
            &longest,
            "cli",
            "client:1",
            "a-cli:x",
            "acme cli:x",
            "c:li:",
        ] {
            assert_eq!(fault(good), None, "{good:?}");
        }
        let too_long = "x".repeat(CHARS_MAX + 1);
        for (bad, why) in [
            ("", IdFault::Blank),
            (" ", IdFault::Blank),
            ("\t\n", IdFault::Blank),
            ("\u{3000}", IdFault::Blank),
            ("\u{200b}", IdFault::Blank),
            (" \u{feff}\u{2060} ", IdFault::Blank),
            ("a\0b", IdFault::Control),
            ("a\nb", IdFault::Control),
            (&too_long, IdFault::Long),
            ("cli:", IdFault::CommandLine),
            ("cli:root", IdFault::CommandLine),
            ("CLI:root", IdFault::CommandLine),
            (" cli:root", IdFault::CommandLine),
            ("cli :root", IdFault::CommandLine),
            ("\u{200b}cli:root", IdFault::CommandLine),
            ("c\u{2060}li:root", IdFault::CommandLine),
            ("\u{feff}\u{a0}Cli:root", IdFault::CommandLine),
        ] {
            assert_eq!(fault(bad), Some(why), "{bad:?}");
        }
    }
}
