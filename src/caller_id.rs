//! What can be a caller's id: text that can be shown and stored, and that nobody takes for the
//! command line's word in the audit.

use quell_policy::terminal::without_controls;
use quell_policy::{TenantId, TenantIdError};

/// What the audit's `actor` begins with where somebody acted by the command line.
pub(crate) const COMMAND_LINE: &str = "cli:";
/// Why a text is no caller's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdError {
    #[error(transparent)]
    Tenant(#[from] TenantIdError),
    #[error("begins with {COMMAND_LINE}, which the audit keeps for the command line")]
    CommandLine,
}

/// `text` as a caller's id, unchanged.
pub(crate) fn read(text: &str) -> Result<TenantId, IdError> {
    let id = TenantId::new(text)?;
    if seen(text).next().is_none() {
        Err(TenantIdError::Blank.into())
    } else if looks_like_command_line(text) {
        Err(IdError::CommandLine)
    } else {
        Ok(id)
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
    use quell_policy::owner::TENANT_ID_CHARS_MAX;

    use super::*;

    #[test]
    fn an_id_is_text_that_can_be_shown_and_stored_and_is_not_the_command_lines() {
        let longest = "x".repeat(TENANT_ID_CHARS_MAX);
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
            assert_eq!(read(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(TENANT_ID_CHARS_MAX + 1);
        for (bad, why) in [
            ("", IdError::Tenant(TenantIdError::Blank)),
            (" ", IdError::Tenant(TenantIdError::Blank)),
            ("\t\n", IdError::Tenant(TenantIdError::Blank)),
            ("\u{3000}", IdError::Tenant(TenantIdError::Blank)),
            ("\u{200b}", IdError::Tenant(TenantIdError::Blank)),
            (" \u{feff}\u{2060} ", IdError::Tenant(TenantIdError::Blank)),
            ("a\0b", IdError::Tenant(TenantIdError::Control)),
            ("a\nb", IdError::Tenant(TenantIdError::Control)),
            (&too_long, IdError::Tenant(TenantIdError::Long)),
            ("cli:", IdError::CommandLine),
            ("cli:root", IdError::CommandLine),
            ("CLI:root", IdError::CommandLine),
            (" cli:root", IdError::CommandLine),
            ("cli :root", IdError::CommandLine),
            ("\u{200b}cli:root", IdError::CommandLine),
            ("c\u{2060}li:root", IdError::CommandLine),
            ("\u{feff}\u{a0}Cli:root", IdError::CommandLine),
        ] {
            assert_eq!(read(bad), Err(why), "{bad:?}");
        }
    }
}
