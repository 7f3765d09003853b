//! The types of operands, and which of them compare.

use super::diagnostic::{Span, SpannedDiagnostic};
use super::ir::Comparison;
use super::operand::{Literal, Operand};
use crate::facts::{KindDetail, TrackType};
use crate::problem::did_you_mean;
use crate::terminal::quoted;

/// What is known of an operand before there are facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Number,
    Flag,
    /// One of these words of LiveKit's.
    Word(&'static [&'static str]),
    /// Words of LiveKit's, any number of them.
    KindDetails,
    /// All attributes.
    Attributes,
    /// Metadata: the facts will say.
    Json,
}

impl Type {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Word(_) => "a word",
            Self::KindDetails => "a list of words",
            Self::Attributes => "a map of attributes",
            Self::Json => "metadata",
        }
    }
}

/// An operand that was checked.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) operand: Operand,
    pub(super) type_: Type,
    pub(super) span: Span,
    pub(super) literal: bool,
}

pub(super) const IN_DETAILS: &str = "write `\"CONNECTOR_TWILIO\" in participant.kind_details`";

/// Refuses what has no order, or cannot be compared at all.
pub(super) fn comparable(side: &Typed, how: Comparison) -> Result<(), SpannedDiagnostic> {
    let (message, hint) = match side.type_ {
        Type::Attributes => (
            "attributes are compared one by one",
            "name one, such as `participant.attributes.role`",
        ),
        Type::KindDetails => ("a list of words is asked what is in it", IN_DETAILS),
        Type::Flag if how.is_order() => {
            ("true and false have no order", "compare with `==` or `!=`")
        }
        Type::Word(_) if how.is_order() => ("words have no order", "compare with `==` or `in`"),
        Type::Text | Type::Number | Type::Flag | Type::Word(_) | Type::Json => return Ok(()),
    };
    Err(SpannedDiagnostic::new(side.span, message, hint))
}

/// Refuses text with NUL, which is replaced in facts when they are stored: what is decided by it
/// could not be explained, nor tried again.
pub(super) fn without_nul(text: &str, span: Span) -> Result<(), SpannedDiagnostic> {
    if !text.contains('\0') {
        return Ok(());
    }
    Err(SpannedDiagnostic::new(
        span,
        "there is a NUL (`\\u0000`) in this text, and facts are kept without",
        "take it out",
    ))
}

/// Refuses a comparison that could never be what is meant.
pub(super) fn same_type(left: &Typed, right: &Typed, whole: Span) -> Result<(), SpannedDiagnostic> {
    match (left.type_, right.type_) {
        (Type::Word(words), Type::Text) => word(words, left, right),
        (Type::Text, Type::Word(words)) => word(words, right, left),
        (Type::Json, _) | (_, Type::Json) => Ok(()),
        (Type::Text, Type::Text) => event(left, right).and_then(|()| event(right, left)),
        (one, other) if one == other => Ok(()),
        (one, other) => {
            let message = match (one, other) {
                (Type::Word(_), Type::Word(_)) => "these have no word in common".to_owned(),
                (one, other) => format!("{} is never {}", one.in_words(), other.in_words()),
            };
            Err(SpannedDiagnostic::new(
                whole,
                message,
                mismatch(left, right),
            ))
        }
    }
}

/// Refuses what could never be in the list of words.
pub(super) fn may_be_in(item: &Typed, list: &Typed) -> Result<(), SpannedDiagnostic> {
    match item.type_ {
        Type::Text | Type::Json => word(KindDetail::WORDS, list, item),
        Type::Number | Type::Flag | Type::Word(_) | Type::Attributes | Type::KindDetails => {
            let message = format!("{} is never one of these words", item.type_.in_words());
            Err(SpannedDiagnostic::new(item.span, message, IN_DETAILS))
        }
    }
}

/// A word is compared with words that exist.
fn word(words: &[&str], field: &Typed, with: &Typed) -> Result<(), SpannedDiagnostic> {
    let Operand::Literal(Literal::Text(written)) = &with.operand else {
        return Ok(());
    };
    if words.contains(&&**written) {
        return Ok(());
    }
    if words == TrackType::WORDS
        && let Some((message, hint)) = TrackType::never(written)
    {
        return Err(SpannedDiagnostic::new(with.span, message, hint));
    }
    let name = field.operand.field().map_or("it", |field| field.name);
    let is_detail = name == "participant.kind" && KindDetail::WORDS.contains(&&**written);
    let hint = match did_you_mean(written, words) {
        _ if is_detail => format!("write `{} in participant.kind_details`", quoted(written)),
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("one of {}", words.join(", ")),
    };
    let never = if field.type_ == Type::KindDetails {
        "never has"
    } else {
        "is never"
    };
    let message = format!("`{name}` {never} {}", quoted(written));
    Err(SpannedDiagnostic::new(with.span, message, hint))
}

/// The event that tells of a new track, and those of LiveKit's that never do.
const TELLS: &str = "track_published";
const NEVER_TELL: &[&str] = &[
    "room_started",
    "room_finished",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "track_unpublished",
    "egress_started",
    "egress_updated",
    "egress_ended",
    "ingress_started",
    "ingress_ended",
];

/// An event's type is not compared with events that tell of no track, or with slips.
fn event(field: &Typed, with: &Typed) -> Result<(), SpannedDiagnostic> {
    let Operand::Literal(Literal::Text(written)) = &with.operand else {
        return Ok(());
    };
    let is_event = field
        .operand
        .field()
        .is_some_and(|field| field.name == "event.type");
    if !is_event || &**written == TELLS {
        return Ok(());
    }
    let hint = if NEVER_TELL.contains(&&**written) {
        "a policy is asked when a track is published; leave it out".to_owned()
    } else if did_you_mean(written, &[TELLS]).is_some() {
        format!("did you mean \"{TELLS}\"?")
    } else {
        return Ok(());
    };
    let message = format!("`event.type` is never {}", quoted(written));
    Err(SpannedDiagnostic::new(with.span, message, hint))
}

/// What to do about two types of which one is never the other.
fn mismatch(left: &Typed, right: &Typed) -> String {
    let sides = [left, right];
    let literal = sides.iter().find_map(|side| match &side.operand {
        Operand::Literal(literal) => Some(literal),
        Operand::Field(_)
        | Operand::Attribute(_)
        | Operand::Attributes
        | Operand::KindDetails
        | Operand::Metadata(..)
        | Operand::Size(_) => None,
    });
    let time = sides.iter().any(|side| {
        let name = side.operand.field().map_or("", |field| field.name);
        name.ends_with("_at") && side.type_ == Type::Number
    });
    match literal {
        Some(Literal::Text(_)) if time => {
            "times are whole seconds since 1970, such as 1767225600".to_owned()
        }
        Some(Literal::Text(text))
            if text.parse::<f64>().is_ok() || matches!(&**text, "true" | "false") =>
        {
            format!("write {text} without quotes")
        }
        Some(Literal::Number(_)) if sides.iter().any(|side| side.type_ == Type::Text) => {
            "put the number in quotes".to_owned()
        }
        Some(_) | None => "compare values of one type".to_owned(),
    }
}
