//! What a text that is no YAML lacks, in words for people who do not know YAML's.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::DEPTH_MAX;
use crate::node::Place;
use crate::terminal::{cut, quoted};

pub(super) const IN_QUOTES: &str = "put it in quotes";
/// For what has a use in YAML, which somebody may have meant.
pub(super) const OR_WRITTEN_OUT: &str = "put it in quotes, or write out what it stands for";
const NO_COMMA: &str =
    "take the comma out: outside of `[ ]` and `{ }`, each entry has a line of its own";
const FITS: &str = "see how far this line is indented, and whether text in it needs quotes";
/// What a parser says is cut here.
const MALFORMED_CHARS_MAX: usize = 300;
/// What no text without quotes starts with.
const INDICATORS: [char; 14] = [
    '!', '&', '*', '[', ']', '{', '}', ',', '|', '>', '%', '@', '`', '?',
];

/// What is wrong, where, and what to do.
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// A sign of YAML's that stands where text was meant.
pub(super) fn sign(sign: char) -> String {
    let what = match sign {
        '!' => "a YAML tag",
        '&' => "a YAML anchor",
        '*' => "a YAML alias",
        _ => "something else",
    };
    format!("`{sign}` starts {what} here, not text")
}

fn no_start(c: char) -> String {
    format!(
        "text without quotes cannot start with {}",
        quoted(&c.to_string())
    )
}

pub(super) fn too_deep(place: Place) -> SyntaxError {
    SyntaxError {
        place,
        message: format!("lists and maps are nested deeper than {DEPTH_MAX}"),
        hint: "take some out",
    }
}

/// What is left of a line from a byte on.
fn line_from(text: &str, byte: Option<usize>) -> &str {
    let rest = byte.and_then(|byte| text.get(byte..)).unwrap_or_default();
    rest.split(['\n', '\r']).next().unwrap_or_default()
}

/// An error of the parser, in our words.
pub(super) fn in_words(error: &ScanError, text: &str) -> SyntaxError {
    let at = error.marker();
    let place = Place::from(at);
    let first = line_from(text, at.byte_offset()).chars().next();
    let structure = matches!(
        error.kind(),
        ErrorKind::ExpectedBlockMappingKey
            | ErrorKind::ExpectedBlockSequenceEntry
            | ErrorKind::UnexpectedEofBlockMapping
            | ErrorKind::UnexpectedEofBlockSequence
            | ErrorKind::ExpectedDocumentStart
            | ErrorKind::ExpectedNodeContent
    );
    if structure && let Some(column) = comma_behind(line_of(text, place)) {
        return SyntaxError {
            place: Place {
                column: u64::try_from(column).ok(),
                ..place
            },
            message: "a comma stands behind this list or map".to_owned(),
            hint: NO_COMMA,
        };
    }
    if structure
        && let Some((column, c)) = value_on(line_of(text, place))
        && INDICATORS.contains(&c)
    {
        return SyntaxError {
            place: Place {
                column: u64::try_from(column).ok(),
                ..place
            },
            message: no_start(c),
            hint: IN_QUOTES,
        };
    }
    if let Some((message, hint)) = told(error.kind(), first) {
        let in_text = *error.kind() == ErrorKind::TabInPlainScalar;
        let tab = in_text.then(|| indented_by_tab(text, place)).flatten();
        let place = tab.unwrap_or(place);
        return SyntaxError {
            place,
            message,
            hint,
        };
    }
    let message = cut(&error.info(), MALFORMED_CHARS_MAX);
    SyntaxError {
        place,
        message: format!("this is not YAML that can be read: {message}"),
        hint: FITS,
    }
}

/// The errors that people make; none for others, which keep the message of the parser.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the crate has dozens of others, whose own words are told"
)]
#[expect(clippy::too_many_lines, reason = "a table")]
fn told(kind: &ErrorKind, first: Option<char>) -> Option<(String, &'static str)> {
    let (message, hint) = match kind {
        ErrorKind::UnexpectedCharacter { character } => {
            if character.is_control() {
                let message = "there is a control character here";
                return Some((message.to_owned(), "take it out"));
            }
            return Some((no_start(*character), IN_QUOTES));
        }
        ErrorKind::DirectiveDisallowed => (
            "`%` at the start of a line starts a YAML directive",
            "take it out; text that starts with it is put in quotes",
        ),
        ErrorKind::MissingAnchorOrAliasName
        | ErrorKind::InvalidTagTerminator
        | ErrorKind::MissingTagUri
        | ErrorKind::UnclosedVerbatimTag
        | ErrorKind::InvalidTagEscape
        | ErrorKind::InvalidTagUtf8LeadingByte
        | ErrorKind::InvalidTagUtf8TrailingByte
        | ErrorKind::InvalidTagUtf8
        | ErrorKind::UndeclaredTagHandle
        | ErrorKind::ExpectedTagBang => {
            let first = first.filter(|c| matches!(c, '*' | '&')).unwrap_or('!');
            return Some((sign(first), IN_QUOTES));
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar
        | ErrorKind::InvalidTrailingSingleQuotedScalar
            if first == Some(',') =>
        {
            ("a comma stands behind this text", NO_COMMA)
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar => (
            "text goes on after its closing quote",
            "put it in quotes as a whole: 'in single ones, with \"these\" inside'",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar => (
            "text goes on after its closing quote",
            "put it in quotes as a whole: \"in double ones, with 'these' inside\"",
        ),
        ErrorKind::UnexpectedEofImplicitFlowMapping if first == Some(',') => (
            "an item is missing before this comma",
            "write it, or take the comma out",
        ),
        ErrorKind::CommentNotSeparated => (
            "a `#` starts a comment only behind a space",
            "put a space before it, or put the whole in quotes if it is text",
        ),
        ErrorKind::InvalidBlockScalarIndent => (
            "the lines of this block are not indented as far as the number after `|` or `>` says",
            "take the number out: the first line says how far a block is indented",
        ),
        ErrorKind::DocumentIndicatorInQuotedScalar => (
            "a line of this quote starts with `---` or `...`, which ends a document",
            "close the quote on its line, or write text of several lines below `|`, indented",
        ),
        ErrorKind::InvalidBlockScalarHeader | ErrorKind::ZeroBlockScalarIndent => (
            "`|` or `>` starts a block of the lines below it, and here text follows on the same line",
            IN_QUOTES,
        ),
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::FlowMappingValueAdjacentCollection => (
            "a `:` makes a key of the text before it, and no key can stand here",
            "put it in quotes if it is text, or see how far this line is indented",
        ),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator
            if first == Some(':') =>
        {
            (
                "a `:` makes a key of the text before it, and no key can stand here",
                IN_QUOTES,
            )
        }
        ErrorKind::ExpectedFlowMappingSeparator => (
            "something follows a value within `{ }`",
            "put text in quotes, and a comma between entries",
        ),
        ErrorKind::ExpectedFlowSequenceSeparator => (
            "something follows a value within `[ ]`",
            "put text in quotes, and a comma between values",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::BlockEntryInFlowCollection
        | ErrorKind::InvalidBlockEntryWhitespace
        | ErrorKind::PlainScalarStartsWithDashFlowIndicator => (
            "`-` makes an item of a list, and none can start here",
            "put it in quotes if it is text, or start the list on a line of its own",
        ),
        ErrorKind::MappingKeyNotAllowed => ("`?` makes a key, and none can start here", IN_QUOTES),
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            ("this bracket closes none", "put it in quotes if it is text")
        }
        ErrorKind::UnclosedFlowCollection { .. } => (
            "this bracket is never closed",
            "close it, or put it in quotes if it is text",
        ),
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => {
            ("this quote is never closed", "close it")
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidLowSurrogateHexEscape
        | ErrorKind::InvalidLowSurrogate
        | ErrorKind::MissingLowSurrogate
        | ErrorKind::UnpairedLowSurrogate
        | ErrorKind::InvalidUnicodeEscape => (
            "there is an escape in these quotes that means nothing",
            "put it in single quotes, in which a backslash is plain, or write `\\\\`",
        ),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => ("a tab indents nothing", "indent by spaces"),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "expected a key with a `:` and a space after it",
            "write it, or see how far this line is indented",
        ),
        ErrorKind::RecursionLimitExceeded => {
            let SyntaxError { message, hint, .. } = too_deep(Place::default());
            return Some((message, hint));
        }
        ErrorKind::BomInsideDocument => ("a byte order mark stands here", "take it out"),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry => {
            ("this does not fit what is above it", FITS)
        }
        _ => return None,
    };
    Some((message.to_owned(), hint))
}

/// The line of a place.
fn line_of(text: &str, place: Place) -> &str {
    let line = place.line.and_then(|line| usize::try_from(line).ok());
    let lines = text.split_inclusive(['\n', '\r']);
    // CR LF ends one line, not two.
    let mut number = 1;
    let mut before = "";
    for part in lines {
        if before.ends_with('\n') || before.ends_with('\r') && part != "\n" {
            number += 1;
        }
        if line == Some(number) {
            return part.trim_end_matches(['\n', '\r']);
        }
        before = part;
    }
    ""
}

/// The column of a comma at the end of a line whose value is a list or a map in brackets.
fn comma_behind(line: &str) -> Option<usize> {
    let line = line.trim_end();
    let (_, value) = value_on(line)?;
    let closed = line.ends_with("},") || line.ends_with("],");
    (closed && matches!(value, '{' | '[')).then(|| line.chars().count())
}

/// The next line from this one on that a tab indents.
fn indented_by_tab(text: &str, from: Place) -> Option<Place> {
    let next = from.line?.checked_add(1)?;
    let place = Place {
        line: Some(next),
        column: Some(1),
    };
    line_of(text, place).starts_with('\t').then_some(place)
}

/// The first character of the value on a line, and its column from 1: after the dash of an item
/// and after a key.
fn value_on(line: &str) -> Option<(usize, char)> {
    let mut value = line.trim_start();
    while let Some(item) = value.strip_prefix("- ") {
        value = item.trim_start();
    }
    if let Some((_, after)) = value.split_once(": ") {
        value = after.trim_start();
    }
    let column = line.chars().count() - value.chars().count() + 1;
    value.chars().next().map(|first| (column, first))
}
