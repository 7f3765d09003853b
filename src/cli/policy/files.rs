//! Policies and their tests in files, as they are named on the command line.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::full_name;
use crate::clock::Clock;
use crate::policy::document::DOCUMENT_BYTES_MAX;
use crate::policy::{Checked, Document, Policy};

/// The files that a command line names.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) policies: Vec<PathBuf>,
    /// Those that stand beside the policies' files, and those that are named themselves.
    pub(super) tests: Vec<PathBuf>,
}

impl Files {
    /// The files at these paths. A folder stands for all that it holds, a file of policies for
    /// itself and its tests.
    pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut files = Self::default();
        for path in paths {
            if path.is_dir() {
                files.add_folder(path)?;
            } else if tested_by(path).is_some() {
                files.tests.push(path.clone());
            } else {
                files.policies.push(path.clone());
                files.tests.extend(tests_beside(path));
            }
        }
        // A shell's `*.yaml` names a file of tests that its policies' file stands for as well.
        files.tests.sort();
        files.tests.dedup();
        Ok(files)
    }

    fn add_folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let failed = || format!("{} cannot be read", folder.display());
        let mut found = Vec::new();
        for entry in folder.read_dir().with_context(failed)? {
            let file = entry.with_context(failed)?.path();
            let extension = file.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("yaml" | "yml")) && file.is_file() {
                found.push(file);
            }
        }
        found.sort();
        let (tests, policies): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|file| tested_by(file).is_some());
        if policies.is_empty() {
            anyhow::bail!("{} holds no *.yaml file", folder.display());
        }
        self.policies.extend(policies);
        self.tests.extend(tests);
        Ok(())
    }

    /// Reads and checks the policies; warnings go to stderr.
    pub(super) fn load(&self) -> anyhow::Result<Vec<Policy>> {
        if self.policies.is_empty() {
            anyhow::bail!("these are tests alone: name the files of policies too");
        }
        let checked = read(&self.policies)?;
        for warning in &checked.warnings {
            eprintln!("warning: {warning}");
        }
        warn_of_what_is_over(&checked.value.policies);
        Ok(checked.value.policies)
    }
}

/// The files of policies that a file of tests may be about, where it names none: the ones beside
/// it with its name. None for any other file.
pub(super) fn tested_by(file: &Path) -> Option<[PathBuf; 2]> {
    let name = file.file_name()?.to_str()?;
    let stem = name
        .strip_suffix(".test.yaml")
        .or_else(|| name.strip_suffix(".test.yml"))?;
    Some(["yaml", "yml"].map(|extension| file.with_file_name(format!("{stem}.{extension}"))))
}

fn tests_beside(policies: &Path) -> impl Iterator<Item = PathBuf> {
    ["test.yaml", "test.yml"]
        .map(|extension| policies.with_extension(extension))
        .into_iter()
        .filter(|file| file.is_file())
}

/// Reads and checks these files of policies.
pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Checked<Document>> {
    let mut texts = Vec::new();
    for file in files {
        texts.push((file.display().to_string(), text_of(file)?));
    }
    let named = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    Document::load(named)
        .map_err(|problems| anyhow::anyhow!("the policies cannot be used:\n{problems}"))
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

/// The text of a file; of one that is too long, enough to be refused for it.
pub(super) fn text_of(file: &Path) -> anyhow::Result<String> {
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
