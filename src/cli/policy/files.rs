//! Policies and their tests in files, as they are named on the command line.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::folder::{self, Found, Kind};
use super::full_name;
use quell_clock::Clock;
use quell_policy::case::CaseFile;
use quell_policy::limits::DOCUMENT_BYTES_MAX;
use quell_policy::{Checked, Document, Policy};

/// The files that a command line names.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) policies: Vec<PathBuf>,
    /// Those that stand beside the policies' files, and those that are named themselves; with the
    /// file of policies of its name that brought it, where one did.
    pub(super) tests: BTreeMap<PathBuf, Option<PathBuf>>,
}

impl Files {
    /// The files at these paths. A folder stands for all that it and the folders in it hold, a file
    /// of policies for itself and its tests. What folders hold besides is named on stderr.
    pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut files = Self::default();
        let mut found = Found::default();
        for path in paths {
            if path.is_dir() {
                found.add(path)?;
                files.policies.append(&mut found.policies);
                for test in found.tests.drain(..) {
                    files.tests.entry(test).or_default();
                }
            } else if is_test(path) {
                // A shell's `*.yaml` names one that its policies' file stands for as well.
                files.tests.entry(path.clone()).or_default();
            } else {
                files.policies.push(path.clone());
                files.add_tests_of(path);
            }
        }
        if let Some(not_read) = found.not_read() {
            eprintln!("{not_read}");
        }
        Ok(files)
    }

    /// The tests beside a file of policies that have its name, and those that name it.
    fn add_tests_of(&mut self, policies: &Path) {
        let stem = policies.file_stem().map(OsStr::as_encoded_bytes);
        // What cannot be listed may be read all the same; a file that is not there is told of later.
        for test in beside(policies, Kind::Tests).unwrap_or_default() {
            if stem.is_some() && folder::kind(&test).map(|(_, stem, _)| stem) == stem {
                let brought_by = self.tests.entry(test).or_default();
                brought_by.get_or_insert_with(|| policies.to_owned());
            } else if is_about(&test, policies) {
                self.tests.entry(test).or_default();
            }
        }
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

fn is_test(file: &Path) -> bool {
    folder::kind(file).is_some_and(|(kind, ..)| kind == Kind::Tests)
}

/// The file of policies that a file of tests is about, where it names none: the one beside it with
/// its name.
pub(super) fn tested_by(tests: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some((_, stem, _)) = folder::kind(tests) else {
        return Ok(None);
    };
    let files = beside(tests, Kind::Policies)?.into_iter();
    let named = files.filter_map(|file| {
        let order = folder::kind(&file).filter(|(_, of, _)| *of == stem)?.2;
        Some((order, file))
    });
    Ok(named.min().map(|(_, file)| file))
}

/// The files of this kind in the folder of a file, in the order of their names.
fn beside(file: &Path, wanted: Kind) -> anyhow::Result<Vec<PathBuf>> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let names = folder::names(folder.unwrap_or(Path::new(".")))?.into_iter();
    let files = names.map(|name| file.with_file_name(name));
    let of_kind = |file: &PathBuf| folder::kind(file).is_some_and(|(kind, ..)| kind == wanted);
    // What cannot be looked at is told of when it is read.
    let may_be_file = |file: &PathBuf| file.metadata().map_or(true, |found| found.is_file());
    Ok(files.filter(of_kind).filter(may_be_file).collect())
}

/// The files of policies that a file of tests names.
pub(super) fn named_by(tests: &Path, cases: &CaseFile) -> impl Iterator<Item = PathBuf> {
    let folder = tests.parent().unwrap_or(Path::new(""));
    cases.policies.iter().map(move |of| folder.join(of))
}

/// Whether a file of tests names this file of policies. Of one that cannot be read it is enough that
/// the name stands in it: what is wrong is told of when it is run.
fn is_about(tests: &Path, policies: &Path) -> bool {
    let Ok(text) = text_of(tests) else {
        return false;
    };
    match CaseFile::read(&tests.display().to_string(), &text) {
        Ok(cases) => {
            let wanted = policies.canonicalize().ok();
            wanted.is_some()
                && named_by(tests, &cases).any(|named| named.canonicalize().ok() == wanted)
        }
        Err(_) => policies
            .file_name()
            .is_some_and(|name| text.contains(&*name.to_string_lossy())),
    }
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
            let name = full_name(&policy.owner, &policy.name);
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
