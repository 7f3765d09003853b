//! Policies in files, as they are named on the command line.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::full_name;
use crate::clock::Clock;
use crate::policy::document::DOCUMENT_BYTES_MAX;
use crate::policy::{Document, Policy};

/// Reads and checks every file; warnings go to stderr.
pub(super) fn load(paths: &[PathBuf]) -> anyhow::Result<Vec<Policy>> {
    let mut files = Vec::new();
    for path in paths {
        for file in files_at(path)? {
            let text = text_of(&file)?;
            files.push((file.display().to_string(), text));
        }
    }
    let named = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let checked = Document::load(named)
        .map_err(|problems| anyhow::anyhow!("the policies cannot be used:\n{problems}"))?;
    for warning in &checked.warnings {
        eprintln!("warning: {warning}");
    }
    warn_of_what_is_over(&checked.value.policies);
    Ok(checked.value.policies)
}

/// Reading a document knows no clock, so that it says the same at any time; whoever runs this
/// command wants to know that a policy will never act again.
fn warn_of_what_is_over(policies: &[Policy]) {
    let now = Clock::system().now();
    for policy in policies {
        if let Some(ended) = policy.not_after.filter(|ended| *ended <= now) {
            let name = full_name(policy.owner.as_deref(), &policy.name);
            eprintln!(
                "warning: {name}: its `not_after` ({ended}) is over, so it does nothing; remove it or change that"
            );
        }
    }
}

/// The file itself, or the *.yaml and *.yml files of a folder, in order of their names.
fn files_at(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path
        .read_dir()
        .with_context(|| format!("{} cannot be read", path.display()))?
    {
        let file = entry
            .with_context(|| format!("{} cannot be read", path.display()))?
            .path();
        let name = file.to_string_lossy();
        // Tests stand beside the policies that they test.
        let is_test = name.ends_with(".test.yaml") || name.ends_with(".test.yml");
        if (name.ends_with(".yaml") || name.ends_with(".yml")) && !is_test && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        anyhow::bail!("{} holds no *.yaml file", path.display());
    }
    Ok(files)
}

fn text_of(file: &Path) -> anyhow::Result<String> {
    let failed = || format!("{} cannot be read", file.display());
    let mut bytes = Vec::new();
    // One byte more than is allowed is enough to be told that it is too long.
    let limit = u64::try_from(DOCUMENT_BYTES_MAX)?.saturating_add(1);
    File::open(file)
        .with_context(failed)?
        .take(limit)
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!(
            "{} is not UTF-8 text: the byte at {} is not; save it as UTF-8",
            file.display(),
            error.utf8_error().valid_up_to()
        )
    })
}
