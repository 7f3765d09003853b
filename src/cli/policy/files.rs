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
    if bytes.len() > DOCUMENT_BYTES_MAX {
        // Its end may be in the midst of a letter; it is refused for its length.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!(
            "{} is not UTF-8 text: the byte at {} is not; save it as UTF-8",
            file.display(),
            error.utf8_error().valid_up_to()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, bytes).unwrap();
        let told = |error: anyhow::Error| format!("{error:#}");
        text_of(&file)
            .map_err(told)
            .map_err(|error| error.replace(&file.display().to_string(), "p.yaml"))
    }

    #[test]
    fn a_file_that_is_no_text_says_so() {
        for (bytes, says) in [
            (b"a: \xff".as_slice(), "the byte at 3"),
            (b"a: \xc3", "the byte at 3"),
            (b"\xff\xfea\0", "the byte at 0"),
            (b"\xfe\xff\0a", "the byte at 0"),
            (b"\xed\xa0\x80", "the byte at 0"),
        ] {
            let expected = format!("p.yaml is not UTF-8 text: {says} is not; save it as UTF-8");
            assert_eq!(text(bytes), Err(expected), "{bytes:?}");
        }
    }

    /// No more of it is read than is needed to refuse it, wherever that cuts a letter.
    #[test]
    fn a_file_that_is_too_long_is_refused_for_its_length() {
        let long = "é".repeat(5 << 20);
        for text_of_file in [long.clone(), format!("x{long}"), "x".repeat(10 << 20)] {
            let read = text(text_of_file.as_bytes()).unwrap();
            assert!(read.len() < DOCUMENT_BYTES_MAX + 8);
            let refused = Document::load([("p.yaml", read.as_str())]).unwrap_err();
            let says = "p.yaml: this has more than 1048576 bytes; split it";
            assert_eq!(refused.to_string(), says);
        }
        let fits = "x".repeat(DOCUMENT_BYTES_MAX);
        assert_eq!(text(fits.as_bytes()), Ok(fits));
    }
}
