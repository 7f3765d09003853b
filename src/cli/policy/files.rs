//! Policies and their tests in files, as they are named on the command line.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::folder::{self, Found, Kind};
use super::full_name;
use super::text::text_of;
use quell_clock::Clock;
use quell_policy::case::CaseFile;
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
