//! Writes to stdout: in colour on a terminal only, and without an error where the reader stops reading.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use similar::{ChangeTag, TextDiff};

use quell_policy::terminal::without_controls;

/// How times are written.
pub(in crate::cli) const TIME: &str = "%Y-%m-%d %H:%M:%SZ";

/// How a command answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs, as the REST interface answers
    Json,
}

/// The time limit of a diff; one that takes longer is less exact.
const DIFF_TIME_MAX: Duration = Duration::from_secs(1);

/// Prints to stdout. A reader that has seen enough (`| head`) is no error.
pub(in crate::cli) fn print_out(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A text, and what it is called.
pub(super) struct Side {
    pub(super) label: String,
    pub(super) text: String,
}

/// A unified diff; none where the texts are the same.
pub(super) fn unified_diff(old: &Side, new: &Side) -> Option<String> {
    if old.text == new.text {
        return None;
    }
    let bold = Style::new().bold();
    let mut shown = format!(
        "{bold}--- {}{bold:#}\n{bold}+++ {}{bold:#}\n",
        without_controls(&old.label),
        without_controls(&new.label)
    );
    let diff = TextDiff::configure()
        .timeout(DIFF_TIME_MAX)
        .diff_lines(&old.text, &new.text);
    for hunk in diff.unified_diff().iter_hunks() {
        line(
            &mut shown,
            colour(AnsiColor::Cyan),
            &hunk.header().to_string(),
        );
        for change in hunk.iter_changes() {
            let style = match change.tag() {
                ChangeTag::Delete => colour(AnsiColor::Red),
                ChangeTag::Insert => colour(AnsiColor::Green),
                ChangeTag::Equal => Style::new(),
            };
            let text = without_controls(change.value().trim_end_matches('\n'));
            line(&mut shown, style, &format!("{}{text}", change.tag()));
        }
    }
    Some(shown)
}

fn colour(colour: AnsiColor) -> Style {
    colour.on_default()
}

fn line(shown: &mut String, style: Style, text: &str) {
    // Writing to a text does not fail.
    writeln!(shown, "{style}{text}{style:#}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(label: &str, text: &str) -> Side {
        Side {
            label: label.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_diff_shows_what_changed_with_three_lines_around_it() {
        let before = "a\nb\nc\nd\ne\nf\ng\n";
        let after = "a\nb\nc\nd\nE\nf\ng\n";
        let shown = unified_diff(&side("old", before), &side("new", after)).unwrap();
        let plain = anstream::adapter::strip_str(&shown).to_string();
        let expect = "--- old\n+++ new\n@@ -2,6 +2,6 @@\n b\n c\n d\n-e\n+E\n f\n g\n";
        assert_eq!(plain, expect);
        assert!(shown.contains("\u{1b}[31m-e\u{1b}[0m"), "{shown:?}");
        assert_eq!(unified_diff(&side("x", before), &side("y", before)), None);
    }

    #[test]
    fn no_text_moves_the_cursor() {
        let hostile = side("new", "a\tb\u{1b}[2J\u{9b}1A\r\n");
        let shown = unified_diff(&side("by\u{202e}ann\u{1b}[2J", ""), &hostile).unwrap();
        assert!(shown.contains("--- by\u{fffd}ann\u{fffd}[2J"), "{shown:?}");
        assert!(
            shown.contains("+a\tb\u{fffd}[2J\u{fffd}1A\u{fffd}"),
            "{shown:?}"
        );
    }

    #[test]
    fn what_is_new_or_gone_is_shown_whole() {
        let (nothing, text) = (side("nothing", ""), side("text", "a\nb\n"));
        for (old, new, expect) in [(&nothing, &text, "+a\n+b\n"), (&text, &nothing, "-a\n-b\n")] {
            let shown = unified_diff(old, new).unwrap();
            let plain = anstream::adapter::strip_str(&shown).to_string();
            assert!(plain.ends_with(expect), "{plain}");
        }
    }
}
