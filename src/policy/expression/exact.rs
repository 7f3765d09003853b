//! Text in an expression that is compared as it is, and looks as if it stood for other text.

use super::fault::{Fault, Span};
use super::lowered::{Comparison, Literal, Node, Operand, Test, TextTest, What};
use super::{Expression, ExpressionProblem};
use crate::policy::looks::Look;
use crate::policy::node::quoted;

impl Expression {
    /// The comparisons with a text that looks like a glob or a regular expression.
    pub(in crate::policy) fn compared_exactly(&self) -> Vec<ExpressionProblem> {
        let mut doubts = Vec::new();
        look(&self.0.root, &mut doubts);
        let doubts = doubts.into_iter();
        doubts.map(|fault| fault.in_text(self.text())).collect()
    }
}

fn look(node: &Node, doubts: &mut Vec<Fault>) {
    match &node.what {
        What::Not(inner) => look(inner, doubts),
        What::All(parts) | What::Any(parts) => parts.iter().for_each(|part| look(part, doubts)),
        What::Test(test) => doubts.extend(doubt(test, node.span)),
    }
}

fn doubt(asked: &Test, span: Span) -> Option<Fault> {
    let (compared, texts) = match asked {
        Test::Compare(Comparison::Equal, left, right) => ("`==` compares", vec![left, right]),
        Test::Compare(Comparison::NotEqual, left, right) => ("`!=` compares", vec![left, right]),
        Test::Text(TextTest::StartsWith, _, with) => ("startsWith compares", vec![with]),
        Test::Text(TextTest::EndsWith, _, with) => ("endsWith compares", vec![with]),
        Test::Text(TextTest::Contains, _, with) => ("contains compares", vec![with]),
        Test::In(..) => ("`in` compares", Vec::new()),
        // A detail is one of LiveKit's words.
        Test::Compare(..) | Test::Detail(..) | Test::Always(_) | Test::Flag(_) | Test::Has(_) => {
            return None;
        }
    };
    let operands = texts.into_iter().filter_map(literal);
    let list = if let Test::In(_, list) = asked {
        &**list
    } else {
        &[]
    };
    let mut written = operands.chain(list).filter_map(|literal| match literal {
        Literal::Text(written) => Some(&**written),
        Literal::Number(_) | Literal::Bool(_) => None,
    });
    let (written, look) = written.find_map(|written| Some((written, Look::of(written)?)))?;
    let message = format!(
        "{compared} text as it is, and {} looks like {look}",
        quoted(written)
    );
    let plain = written.trim_matches('*');
    let hint = if plain.is_empty() || Look::of(plain).is_some() {
        "use startsWith, endsWith or contains, or a glob in `match`".to_owned()
    } else if matches!(asked, Test::Text(..)) {
        format!("write {} without the `*`", quoted(plain))
    } else {
        let how = match (written.starts_with('*'), written.ends_with('*')) {
            (true, true) => "contains",
            (true, false) => "endsWith",
            (false, _) => "startsWith",
        };
        format!("write `.{how}({})` after the field", quoted(plain))
    };
    Some(Fault::new(span, message, hint))
}

fn literal(operand: &Operand) -> Option<&Literal> {
    if let Operand::Literal(literal) = operand {
        Some(literal)
    } else {
        None
    }
}
