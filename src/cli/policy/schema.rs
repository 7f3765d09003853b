//! `quell policy schema`: the JSON Schema of the files, for editors.

use clap::Args;

use quell_policy::{Document, case};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// That of *.test.yaml files instead
    #[arg(long)]
    tests: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let schema = if arguments.tests {
        case::json_schema()
    } else {
        Document::json_schema()
    };
    println!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(())
}
