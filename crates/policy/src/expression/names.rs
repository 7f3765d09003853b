//! A name with dots and brackets becomes a field of the facts, or a error that says which was
//! probably meant.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

use super::check::Checker;
use super::diagnostic::{Span, SpannedDiagnostic};
use super::operand::Operand;
use super::types::{Type, Typed, without_nul};
use crate::facts::catalog::{FIELDS, FactType, Field, SECTIONS};
use crate::problem::did_you_mean;
use crate::terminal::quoted;

/// A name, taken apart.
struct Path<'e> {
    root: &'e str,
    keys: Vec<Key<'e>>,
}

struct Key<'e> {
    name: &'e str,
    in_brackets: bool,
}

impl Checker {
    /// The value that a name stands for.
    pub(super) fn name(&self, expr: &IdedExpr) -> Result<Typed, SpannedDiagnostic> {
        let span = self.spans.of(expr);
        let path = self.path(expr)?;
        let (field, keys) = known_field(&path, span)?;
        let value = |operand, type_| Typed {
            operand,
            type_,
            span,
            literal: false,
        };
        let type_ = match field.shape {
            FactType::Text(_) => Type::Text,
            FactType::Count(_) | FactType::Time(_) => Type::Number,
            FactType::Flag(_) => Type::Flag,
            FactType::Word { words, .. } => Type::Word(words),
            FactType::KindDetails(_) if keys.is_empty() => {
                return Ok(value(Operand::KindDetails, Type::KindDetails));
            }
            FactType::KindDetails(_) => Type::KindDetails,
            FactType::Attributes(_) => {
                let key = attribute(keys, span)?;
                return Ok(match key {
                    Some(key) => value(Operand::Attribute(key.into()), Type::Text),
                    None => value(Operand::Attributes, Type::Attributes),
                });
            }
            FactType::Metadata(_) if keys.is_empty() => {
                let message = format!("`{}` is asked for key by key", field.name);
                let hint = format!("name a key of it, such as `{}.theme`", field.name);
                return Err(SpannedDiagnostic::new(span, message, hint));
            }
            FactType::Metadata(_) => {
                let keys = keys.iter().map(|key| key.name.into()).collect();
                return Ok(value(Operand::Metadata(field, keys), Type::Json));
            }
            // No expression names it.
            FactType::Tenant(_) => return Err(self.unsupported(expr)),
        };
        if let Some(key) = keys.first() {
            let message = format!("`{}` has nothing below it", field.name);
            let hint = format!("take {} out", quoted(key.name));
            return Err(SpannedDiagnostic::new(span, message, hint));
        }
        Ok(value(Operand::Field(field), type_))
    }

    fn path<'e>(&self, expr: &'e IdedExpr) -> Result<Path<'e>, SpannedDiagnostic> {
        match &expr.expr {
            Expr::Ident(root) => Ok(Path {
                root,
                keys: Vec::new(),
            }),
            Expr::Select(select) if !select.test => {
                let mut path = self.path(&select.operand)?;
                path.keys.push(Key {
                    name: &select.field,
                    in_brackets: false,
                });
                Ok(path)
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [of, key] = call.args.as_slice() else {
                    return Err(self.unsupported(expr));
                };
                let mut path = self.path(of)?;
                let Expr::Literal(LiteralValue::String(name)) = &key.expr else {
                    return Err(SpannedDiagnostic::new(
                        self.spans.of(key),
                        "a key in brackets is text in quotes",
                        "such as `[\"theme\"]`; an item of a list cannot be named",
                    ));
                };
                without_nul(name.inner(), self.spans.of(key))?;
                path.keys.push(Key {
                    name: name.inner(),
                    in_brackets: true,
                });
                Ok(path)
            }
            Expr::Select(_)
            | Expr::Call(_)
            | Expr::Literal(_)
            | Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_) => Err(self.unsupported(expr)),
        }
    }
}

/// The field at the start of a path, and the keys after it.
fn known_field<'p>(
    path: &'p Path<'_>,
    span: Span,
) -> Result<(&'static Field, &'p [Key<'p>]), SpannedDiagnostic> {
    let Path { root, keys } = path;
    if !SECTIONS.contains(root) {
        return Err(SpannedDiagnostic::new(
            span,
            format!("there is no {}", quoted(root)),
            meant_by(root),
        ));
    }
    let fields = fields_of(root);
    let Some((key, below)) = keys.split_first() else {
        let message = format!("`{root}` is no value by itself");
        return Err(SpannedDiagnostic::new(span, message, one_of(root, &fields)));
    };
    if key.in_brackets && fields.contains(&key.name) {
        let message = format!("a field of `{root}` stands after a dot");
        let hint = format!("write `{root}.{}`", key.name);
        return Err(SpannedDiagnostic::new(span, message, hint));
    }
    let field = Field::named(&format!("{root}.{}", key.name));
    if let Some(field) = field.filter(|field| field.is_in_expressions) {
        return Ok((field, below));
    }
    let hint = match did_you_mean(key.name, &fields) {
        Some(near) => format!("did you mean `{root}.{near}`?"),
        None if *root == "track" && key.name == "muted" => {
            "a track that is muted already is left alone anyway".to_owned()
        }
        None => one_of(root, &fields),
    };
    let message = format!("`{root}` has no field {}", quoted(key.name));
    Err(SpannedDiagnostic::new(span, message, hint))
}

/// What was probably meant by a name that starts with none of the things.
fn meant_by(root: &str) -> String {
    let bare = root.trim_start_matches('.');
    if SECTIONS.contains(&bare) {
        return format!("write `{bare}` without a dot before it");
    }
    let meant: Vec<_> = FIELDS
        .iter()
        .filter(|field| field.is_in_expressions)
        .map(|field| field.name)
        .filter(|name| name.rsplit('.').next() == Some(bare))
        .map(|name| format!("`{name}`"))
        .collect();
    if !meant.is_empty() {
        return format!("did you mean {}?", meant.join(" or "));
    }
    match did_you_mean(bare, SECTIONS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "fields are those of {}; text stands in quotes",
            SECTIONS.join(", ")
        ),
    }
}

/// The keys of a section that an expression can name.
fn fields_of(section: &str) -> Vec<&'static str> {
    Field::of_section(section)
        .filter(|(_, field)| field.is_in_expressions)
        .map(|(key, _)| key)
        .collect()
}

fn one_of(thing: &str, fields: &[&str]) -> String {
    format!("`{thing}` has {}", fields.join(", "))
}

/// The attribute that is named; none for all of them.
fn attribute<'k>(keys: &'k [Key<'_>], span: Span) -> Result<Option<&'k str>, SpannedDiagnostic> {
    match keys {
        [] => Ok(None),
        [key] => Ok(Some(key.name)),
        keys => {
            let name: Vec<_> = keys.iter().map(|key| key.name).collect();
            Err(SpannedDiagnostic::new(
                span,
                "an attribute is text and has nothing below it",
                format!(
                    "a name with dots stands in brackets: `participant.attributes[{}]`",
                    quoted(&name.join("."))
                ),
            ))
        }
    }
}
