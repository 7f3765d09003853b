//! docs/POLICIES.md says what is so.

use super::super::ir::TEXT_TESTS;
use super::super::parse::NODES_MAX;
use super::super::scan::{BRACKET_DEPTH_MAX, EXPRESSION_BYTES_MAX};
use super::parse;
use crate::Document;
use crate::facts::catalog::{FIELDS, FactType};

const MANUAL: &str = include_str!("../../../../../docs/POLICIES.md");

#[test]
fn every_field_is_in_its_table_with_its_type() {
    let (_, section) = MANUAL.split_once("\n### Fields\n").unwrap();
    let (table, _) = section.split_once("\n### ").unwrap();
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let fields = FIELDS.iter().filter(|field| field.is_in_expressions);
    assert_eq!(rows.len(), fields.clone().count());
    for (field, row) in fields.zip(rows) {
        let type_ = match field.shape {
            FactType::Text(_) => "text",
            FactType::Count(_) | FactType::Time(_) => "number",
            FactType::Flag(_) => "true or false",
            FactType::Word { .. } => "word",
            FactType::KindDetails(_) => "list of words",
            FactType::Attributes(_) => "attributes",
            FactType::Metadata(_) => "metadata",
            FactType::Tenant(_) => panic!("{} is no type of expressions", field.name),
        };
        assert!(
            row.starts_with(&format!("| `{}` | {type_} |", field.name)),
            "{row}"
        );
        // What the participant can write is in bold.
        assert_eq!(
            row.contains("**"),
            field.participant_controlled().is_some(),
            "{row}"
        );
    }
    for (name, _) in TEXT_TESTS {
        assert!(MANUAL.contains(name), "{name}");
    }
    let bounds = format!(
        "at most {},{:03} bytes, {NODES_MAX} names, values and operators, and brackets \
         {BRACKET_DEPTH_MAX} deep",
        EXPRESSION_BYTES_MAX / 1_000,
        EXPRESSION_BYTES_MAX % 1_000
    );
    assert!(MANUAL.contains(&bounds), "{bounds}");
}

#[test]
fn every_expression_of_the_manual_is_one() {
    let (_, examples) = MANUAL.split_once("```cel\n").unwrap();
    let (examples, _) = examples.split_once("```").unwrap();
    assert!(examples.lines().count() >= 5);
    for example in examples.lines() {
        assert_eq!(parse(example).constant_conditions(&[]), [], "{example}");
    }
}

/// The picture of an error is what is printed.
#[test]
fn the_refusal_of_the_manual_is_printed() {
    let (_, shown) = MANUAL
        .split_once("```text\npolicies/webinar.yaml:")
        .unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let expression = shown.lines().nth(1).unwrap().trim();
    let yaml = format!(
        "# a\n# b\n# c\npolicies:\n  - name: x\n    match: {{}}\n    when: '{expression}'\n    effect: mute\n"
    );
    let problems = Document::load([("policies/webinar.yaml", yaml.as_str())]).unwrap_err();
    assert_eq!(
        problems.to_string(),
        format!("policies/webinar.yaml:{}", shown.trim_end())
    );
}
