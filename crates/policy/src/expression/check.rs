//! cel's tree against the schema: a typed condition, or the first thing in it that is refused.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::diagnostic::SpannedDiagnostic;
use super::ir::{Comparison, Logic, Predicate, TEXT_TESTS, Test, TextTest};
use super::operand::{Literal, Operand};
use super::parse::{Parsed, Spans};
use super::types::{IN_DETAILS, Type, Typed, comparable, may_be_in, same_type, without_nul};
use super::value::Number;

/// Checks the parts of one tree.
#[derive(Debug)]
pub(super) struct Checker {
    pub(super) spans: Spans,
}

/// The condition that a tree stands for.
pub(super) fn check(parsed: Parsed) -> Result<Predicate, SpannedDiagnostic> {
    let checker = Checker {
        spans: parsed.spans,
    };
    checker.condition(&parsed.tree)
}

impl Checker {
    /// Something that holds or does not.
    fn condition(&self, expr: &IdedExpr) -> Result<Predicate, SpannedDiagnostic> {
        let what = match &expr.expr {
            Expr::Literal(LiteralValue::Boolean(flag)) => Logic::Test(Test::Always(*flag.inner())),
            Expr::Select(select) if select.test => Logic::Test(self.has(&select.operand, expr)?),
            Expr::Call(call) => match self.test(call, expr) {
                Some(what) => what?,
                None => Logic::Test(self.flag(expr)?),
            },
            Expr::Ident(_)
            | Expr::Select(_)
            | Expr::Literal(_)
            | Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_) => Logic::Test(self.flag(expr)?),
        };
        Ok(Predicate {
            what,
            span: self.spans.of(expr),
        })
    }

    /// A call that answers true or false; none for any other.
    fn test(&self, call: &CallExpr, whole: &IdedExpr) -> Option<Result<Logic, SpannedDiagnostic>> {
        let name = call.func_name.as_str();
        let joined =
            |parts: Result<Vec<Predicate>, SpannedDiagnostic>| parts.map(Vec::into_boxed_slice);
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_AND, None, _) => {
                Some(joined(self.parts(name, whole)).map(Logic::All))
            }
            (operators::LOGICAL_OR, None, _) => {
                Some(joined(self.parts(name, whole)).map(Logic::Any))
            }
            (operators::LOGICAL_NOT, None, [inner]) => Some(
                self.condition(inner)
                    .map(|inner| Logic::Not(Box::new(inner))),
            ),
            (operators::IN, None, [item, list]) => {
                Some(self.membership(item, list).map(Logic::Test))
            }
            (name, None, [left, right]) => Some(
                self.comparison(comparison(name)?, left, right, whole)
                    .map(Logic::Test),
            ),
            (name, Some(of), [with]) => {
                Some(self.text_test(text_test(name)?, of, with).map(Logic::Test))
            }
            _ => None,
        }
    }

    /// The conditions that are joined by one operator; the parser makes a tree of pairs.
    fn parts(&self, operator: &str, expr: &IdedExpr) -> Result<Vec<Predicate>, SpannedDiagnostic> {
        let mut parts = Vec::new();
        if let Expr::Call(call) = &expr.expr
            && call.func_name == operator
        {
            for part in &call.args {
                parts.append(&mut self.parts(operator, part)?);
            }
        } else {
            parts.push(self.condition(expr)?);
        }
        Ok(parts)
    }

    /// A field that is true or false by itself.
    fn flag(&self, expr: &IdedExpr) -> Result<Test, SpannedDiagnostic> {
        let typed = self.operand(expr)?;
        if typed.type_ == Type::Flag && !typed.literal {
            return Ok(Test::Flag(typed.operand));
        }
        let hint = match typed.type_ {
            Type::Json => "write `== true`: the metadata may hold anything",
            Type::Attributes => "such as `size(participant.attributes) > 0`",
            Type::KindDetails => IN_DETAILS,
            Type::Text | Type::Number | Type::Word(_) | Type::Flag => {
                "compare it, such as with `==`"
            }
        };
        let message = format!(
            "a condition is true or false, and this is {}",
            typed.type_.in_words()
        );
        Err(SpannedDiagnostic::new(typed.span, message, hint))
    }

    /// Something that can be compared.
    pub(super) fn operand(&self, expr: &IdedExpr) -> Result<Typed, SpannedDiagnostic> {
        match &expr.expr {
            Expr::Literal(literal) => self.literal(literal, expr),
            Expr::Ident(_) => self.name(expr),
            Expr::Select(select) if !select.test => self.name(expr),
            Expr::Call(call) if call.func_name == operators::INDEX => self.name(expr),
            Expr::Call(call) if call.func_name == "size" => self.size(call, expr),
            Expr::Call(call) if is_bent(call) => Err(self.bent(&call.func_name, expr)),
            Expr::Call(call) if answers(call) => Err(self.compared_twice(expr)),
            Expr::Select(_) => Err(self.compared_twice(expr)),
            Expr::Call(_)
            | Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_) => Err(self.unsupported(expr)),
        }
    }

    /// A test of text that does not stand after a field, or takes none or several.
    fn bent(&self, name: &str, expr: &IdedExpr) -> SpannedDiagnostic {
        SpannedDiagnostic::new(
            self.spans.of(expr),
            format!("`{name}` stands after a field and takes one text"),
            format!("such as `room.name.{name}(\"a\")`"),
        )
    }

    /// Refuses `!a == b`: `!` takes `a` alone.
    fn not_turned(&self, left: &IdedExpr) -> Result<(), SpannedDiagnostic> {
        match &left.expr {
            Expr::Call(call) if call.func_name == operators::LOGICAL_NOT => {
                Err(SpannedDiagnostic::new(
                    self.spans.of(left),
                    "`!` turns around only what stands right after it",
                    "put brackets around what is meant, such as `!(room.name in [\"a\"])`, or write `!=`",
                ))
            }
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Select(_)
            | Expr::Struct(_) => Ok(()),
        }
    }

    fn compared_twice(&self, expr: &IdedExpr) -> SpannedDiagnostic {
        SpannedDiagnostic::new(
            self.spans.of(expr),
            "this is true or false already, and is not compared again",
            "join conditions with `&&` and `||` (a range is `1 < a && a < 10`); `!` turns one around",
        )
    }

    fn literal(&self, literal: &LiteralValue, expr: &IdedExpr) -> Result<Typed, SpannedDiagnostic> {
        let (literal, type_) = match literal {
            LiteralValue::String(text) => {
                without_nul(text.inner(), self.spans.of(expr))?;
                (Literal::Text(text.inner().into()), Type::Text)
            }
            LiteralValue::Int(number) => {
                let number = Number::Int((*number.inner()).into());
                (Literal::Number(number), Type::Number)
            }
            LiteralValue::Double(number) => (
                Literal::Number(Number::Float(*number.inner())),
                Type::Number,
            ),
            LiteralValue::Boolean(flag) => (Literal::Bool(*flag.inner()), Type::Flag),
            LiteralValue::Bytes(_) | LiteralValue::Null | LiteralValue::UInt(_) => {
                return Err(self.unsupported(expr));
            }
        };
        Ok(Typed {
            operand: Operand::Literal(literal),
            type_,
            span: self.spans.of(expr),
            literal: true,
        })
    }

    fn size(&self, call: &CallExpr, expr: &IdedExpr) -> Result<Typed, SpannedDiagnostic> {
        let span = self.spans.of(expr);
        let (None, [of]) = (&call.target, call.args.as_slice()) else {
            return Err(SpannedDiagnostic::new(
                span,
                "size() takes one field in its brackets",
                "such as `size(participant.name) > 20`",
            ));
        };
        let typed = self.operand(of)?;
        if !matches!(
            typed.type_,
            Type::Text | Type::Attributes | Type::KindDetails | Type::Json
        ) || matches!(typed.operand, Operand::Size(_))
        {
            return Err(SpannedDiagnostic::new(
                typed.span,
                format!("{} has no size", typed.type_.in_words()),
                "ask for the size of text, of attributes, or of a list or map in metadata",
            ));
        }
        let operand = if let Operand::Literal(Literal::Text(text)) = &typed.operand {
            Operand::Literal(Literal::Number(Number::count(text.chars().count())))
        } else {
            Operand::Size(Box::new(typed.operand))
        };
        Ok(Typed {
            operand,
            type_: Type::Number,
            span,
            literal: false,
        })
    }

    fn has(&self, operand: &IdedExpr, whole: &IdedExpr) -> Result<Test, SpannedDiagnostic> {
        // The macro took the last name off; it stands in the tree's node for the whole.
        let Expr::Select(select) = &whole.expr else {
            return Err(self.unsupported(whole));
        };
        let mut asked = whole.clone();
        let mut without_test = select.clone();
        without_test.test = false;
        without_test.operand = Box::new(operand.clone());
        asked.expr = Expr::Select(without_test);
        let typed = self.operand(&asked)?;
        match typed.operand {
            Operand::Attribute(_) | Operand::Metadata(..) => Ok(Test::Has(typed.operand)),
            Operand::Literal(_)
            | Operand::Field(_)
            | Operand::Size(_)
            | Operand::KindDetails
            | Operand::Attributes => Err(SpannedDiagnostic::new(
                typed.span,
                "this is always there",
                "compare it; has() is for attributes and metadata",
            )),
        }
    }

    fn comparison(
        &self,
        how: Comparison,
        left: &IdedExpr,
        right: &IdedExpr,
        whole: &IdedExpr,
    ) -> Result<Test, SpannedDiagnostic> {
        self.not_turned(left)?;
        let (left, right) = (self.operand(left)?, self.operand(right)?);
        for side in [&left, &right] {
            comparable(side, how)?;
        }
        same_type(&left, &right, self.spans.of(whole))?;
        Ok(Test::Compare(how, left.operand, right.operand))
    }

    fn membership(&self, item: &IdedExpr, list: &IdedExpr) -> Result<Test, SpannedDiagnostic> {
        let Expr::List(elements) = &list.expr else {
            return self.detail(item, list);
        };
        if elements.elements.is_empty() {
            return Err(SpannedDiagnostic::new(
                self.spans.of(list),
                "nothing is in an empty list",
                "name the values that are meant",
            ));
        }
        self.not_turned(item)?;
        let item = self.operand(item)?;
        comparable(&item, Comparison::Equal)?;
        let mut literals = Vec::with_capacity(elements.elements.len());
        for element in &elements.elements {
            let Expr::Literal(_) = element.expr else {
                return Err(SpannedDiagnostic::new(
                    self.spans.of(element),
                    "a list holds plain values",
                    "compare with a field by `==`, and join by `||`",
                ));
            };
            let element = self.operand(element)?;
            same_type(&item, &element, element.span)?;
            if let Operand::Literal(literal) = element.operand {
                literals.push(literal);
            }
        }
        Ok(Test::In(item.operand, literals.into_boxed_slice()))
    }

    /// Whether a word is one of the participant's kind details, the only list that is asked by name.
    fn detail(&self, item: &IdedExpr, list: &IdedExpr) -> Result<Test, SpannedDiagnostic> {
        let is_name = matches!(list.expr, Expr::Select(_) | Expr::Ident(_));
        let of = match self.operand(list) {
            Ok(of) if of.type_ == Type::KindDetails => of,
            Err(error) if is_name => return Err(error),
            Ok(_) | Err(_) => {
                return Err(SpannedDiagnostic::new(
                    self.spans.of(list),
                    "`in` takes a list of values in square brackets, or `participant.kind_details`",
                    "such as `in [\"red\", \"blue\"]`; has() asks whether a key is there",
                ));
            }
        };
        self.not_turned(item)?;
        let item = self.operand(item)?;
        may_be_in(&item, &of)?;
        Ok(Test::Detail(item.operand, of.operand))
    }

    fn text_test(
        &self,
        how: TextTest,
        of: &IdedExpr,
        with: &IdedExpr,
    ) -> Result<Test, SpannedDiagnostic> {
        let (of, with) = (self.operand(of)?, self.operand(with)?);
        for side in [&of, &with] {
            if !matches!(side.type_, Type::Text | Type::Json) {
                let hint = match side.type_ {
                    Type::Word(_) => "compare words with `==` or `in`",
                    Type::Number if side.literal => "put it in quotes",
                    Type::KindDetails => IN_DETAILS,
                    Type::Text | Type::Number | Type::Flag | Type::Attributes | Type::Json => {
                        "compare it with `==`"
                    }
                };
                let found = side.type_.in_words();
                let message = format!("expected text, found {found}");
                return Err(SpannedDiagnostic::new(side.span, message, hint));
            }
        }
        Ok(Test::Text(how, of.operand, with.operand))
    }
}

/// Whether it is a test of text with another shape than `field.test(text)`.
fn is_bent(call: &CallExpr) -> bool {
    text_test(&call.func_name).is_some() && (call.target.is_none() || call.args.len() != 1)
}

/// Whether a call answers true or false.
fn answers(call: &CallExpr) -> bool {
    let name = call.func_name.as_str();
    let joins = [
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::LOGICAL_NOT,
        operators::IN,
    ];
    joins.contains(&name) || comparison(name).is_some() || text_test(name).is_some()
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn text_test(name: &str) -> Option<TextTest> {
    let found = TEXT_TESTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, test)| *test)
}
