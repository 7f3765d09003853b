//! What CEL has and policies do not, and what to write instead.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::check::Checker;
use super::diagnostic::SpannedDiagnostic;
use super::ir::TEXT_TESTS;
use crate::problem::did_you_mean;
use crate::terminal::quoted;

impl Checker {
    pub(super) fn unsupported(&self, expr: &IdedExpr) -> SpannedDiagnostic {
        let (message, hint) = match &expr.expr {
            Expr::Call(call) => call_in_words(call),
            Expr::Comprehension(_) => (
                "loops over lists and maps are not understood here".to_owned(),
                "name a key, ask for `size(...)`, or for `\"...\" in participant.kind_details`"
                    .to_owned(),
            ),
            Expr::List(_) => (
                "a list stands after `in` only".to_owned(),
                "such as `participant.kind in [\"SIP\", \"AGENT\"]`".to_owned(),
            ),
            Expr::Map(_) | Expr::Struct(_) => (
                "maps are not understood here".to_owned(),
                "compare one key at a time".to_owned(),
            ),
            Expr::Literal(LiteralValue::Null) => (
                "null is not understood here".to_owned(),
                "has() asks whether a key is there".to_owned(),
            ),
            Expr::Literal(LiteralValue::Bytes(_)) => (
                "bytes are not understood here".to_owned(),
                "take the b before the quote out".to_owned(),
            ),
            Expr::Literal(LiteralValue::UInt(number)) => (
                "unsigned numbers are not told from others here".to_owned(),
                format!("write {} without the u", number.inner()),
            ),
            Expr::Literal(_) | Expr::Ident(_) | Expr::Select(_) | Expr::Unspecified => (
                "this is not understood here".to_owned(),
                "compare fields with values".to_owned(),
            ),
        };
        SpannedDiagnostic::new(self.spans.of(expr), message, hint)
    }
}

fn call_in_words(call: &CallExpr) -> (String, String) {
    let name = call.func_name.as_str();
    if name == operators::SUBSTRACT {
        if let Some((before, key)) = with_minus(call) {
            let message = "nothing is calculated here".to_owned();
            let key = quoted(&key);
            let hint = format!("a name with a minus stands in brackets: `{before}[{key}]`");
            return (message, hint);
        }
        let made = |arg: &IdedExpr| dotted(arg).as_deref() == Some("room.created_at");
        if call.args.iter().any(made) {
            let message = "nothing is calculated here".to_owned();
            let hint = "a policy's `first: 10m` is about the first 10 minutes of a room".to_owned();
            return (message, hint);
        }
    }
    let (message, hint) = match name {
        operators::CONDITIONAL => ("`? :` is not understood here", "write `a && b || !a && c`"),
        operators::ADD
        | operators::SUBSTRACT
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO
        | operators::NEGATE => (
            "nothing is calculated here",
            "write the result, and compare parts of text with startsWith, endsWith, contains",
        ),
        "matches" => (
            "regular expressions are not understood here",
            "use startsWith, endsWith or contains, or a glob in `match`",
        ),
        "timestamp" | "duration" | "now" => (
            "there are no times to calculate with here",
            "`event.created_at` and the like are whole seconds since 1970; a policy's `active` \
             takes times of day",
        ),
        "string" | "int" | "uint" | "double" | "bool" | "dyn" | "type" | "bytes" => (
            "types are not converted here",
            "compare with a value of the field's own type",
        ),
        "lowerAscii" | "upperAscii" | "lower" | "upper" | "trim" | "replace" | "substring" => (
            "text is compared as it is",
            "name the spellings that are meant: `in [\"Host\", \"host\"]`",
        ),
        name => return unknown_function(name, call.target.is_some()),
    };
    (message.to_owned(), hint.to_owned())
}

/// A key with a minus in it that was written after a dot: what is before it, and the key.
fn with_minus(call: &CallExpr) -> Option<(String, String)> {
    let [left, right] = call.args.as_slice() else {
        return None;
    };
    let Expr::Ident(end) = &right.expr else {
        return None;
    };
    let (before, start) = match &left.expr {
        Expr::Select(select) if !select.test => (dotted(&select.operand)?, select.field.clone()),
        Expr::Call(call) if call.func_name == operators::SUBSTRACT => with_minus(call)?,
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::Ident(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => return None,
    };
    let any_key = [
        "room.metadata",
        "participant.metadata",
        "participant.attributes",
    ];
    let has_keys = any_key.iter().any(|field| before.starts_with(field));
    has_keys.then(|| (before, format!("{start}-{end}")))
}

/// Names joined by dots, as they are written; none for anything else.
fn dotted(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", dotted(&select.operand)?, select.field))
        }
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => None,
    }
}

fn unknown_function(name: &str, of_something: bool) -> (String, String) {
    let example = |name: &str| match name {
        "has" => "has(room.metadata.theme)".to_owned(),
        "size" => "size(participant.name)".to_owned(),
        test => format!("participant.identity.{test}(\"staff-\")"),
    };
    let known: Vec<_> = TEXT_TESTS
        .iter()
        .map(|(name, _)| *name)
        .chain(["has", "size"])
        .collect();
    if known.contains(&name) {
        let message = if of_something {
            format!("`{name}` takes one value in its brackets")
        } else {
            format!("`{name}` is not written this way")
        };
        return (message, format!("such as `{}`", example(name)));
    }
    let hint = match did_you_mean(name, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    (format!("there is no function {}", quoted(name)), hint)
}
