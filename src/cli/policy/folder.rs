//! Which files of a folder are read: policies and tests, by their endings, in all folders below it.
//!
//! What `apply --prune` does not find it removes. So what could be a file of policies and cannot be
//! read is an error here, and whatever else is not read is named.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::text::text_of;
use quell_policy::terminal::without_controls;

/// The endings of what is read, in any case; where a file of tests has several to be about, the
/// first of these.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// The schemas that the manual puts beside policies, for editors: nobody wonders where they are.
const OURS: [&str; 2] = ["schema.json", "test.schema.json"];
/// Folders may be nested at most this deep.
const DEPTH_MAX: usize = 16;
/// At most this many entries may be in all of them.
const ENTRIES_MAX: usize = 100_000;
/// At most this many files that are not read are named; further ones are only counted.
const NAMED_MAX: usize = 10;

/// What a file is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Policies,
    Tests,
}

/// What a file is by its name, and that without its ending, in the order of the endings. A name
/// need not be UTF-8.
pub(super) fn kind(file: &Path) -> Option<(Kind, &[u8], usize)> {
    fn ending(name: &[u8]) -> Option<(&[u8], &[u8])> {
        let dot = name.iter().rposition(|byte| *byte == b'.')?;
        Some((name.get(..dot)?, name.get(dot + 1..)?))
    }
    let (stem, end) = ending(file.file_name()?.as_encoded_bytes())?;
    let is = |known: &&str| end.eq_ignore_ascii_case(known.as_bytes());
    let order = ENDINGS.iter().position(is)?;
    let tests =
        ending(stem).filter(|(stem, kind)| kind.eq_ignore_ascii_case(b"test") && !stem.is_empty());
    Some(match tests {
        Some((stem, _)) => (Kind::Tests, stem, order),
        None => (Kind::Policies, stem, order),
    })
}

/// The names in a folder, in their order.
pub(super) fn names(folder: &Path) -> anyhow::Result<Vec<OsString>> {
    let failed = || format!("{} cannot be read", folder.display());
    let mut names = Vec::new();
    for entry in folder.read_dir().with_context(failed)? {
        names.push(entry.with_context(failed)?.file_name());
        if names.len() > ENTRIES_MAX {
            anyhow::bail!("{} has more than {ENTRIES_MAX} entries", folder.display());
        }
    }
    names.sort();
    Ok(names)
}

/// What was found in folders.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) policies: Vec<PathBuf>,
    pub(super) tests: Vec<PathBuf>,
    /// What is not read, and why.
    left: Vec<String>,
    left_unnamed: usize,
    entries: usize,
    /// The folders that were read, as they are without links.
    folders: HashSet<PathBuf>,
}

impl Found {
    /// Adds what is in a folder and in those below it.
    pub(super) fn add(&mut self, folder: &Path) -> anyhow::Result<()> {
        let before = self.policies.len() + self.tests.len();
        let folders = self.folders.len();
        self.add_below(folder, 1)?;
        // A folder that is named twice adds nothing the second time, and is not reported as empty.
        let is_new = self.folders.len() > folders;
        if is_new && self.policies.len() + self.tests.len() == before {
            let left = self.not_read().map(|left| format!("; {left}"));
            anyhow::bail!(
                "{} holds no *.yaml, *.yml or *.json file{}",
                folder.display(),
                left.unwrap_or_default()
            );
        }
        Ok(())
    }

    fn add_below(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        let failed = || format!("{} cannot be read", folder.display());
        if depth > DEPTH_MAX {
            anyhow::bail!(
                "{}: folders are nested deeper than {DEPTH_MAX}",
                folder.display()
            );
        }
        // A link to a folder above would never end, and one to a folder beside it would read that twice.
        if !self
            .folders
            .insert(folder.canonicalize().with_context(failed)?)
        {
            self.leave(folder, "read already, by another path");
            return Ok(());
        }
        for name in names(folder)? {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                anyhow::bail!("{}: more than {ENTRIES_MAX} entries", folder.display());
            }
            self.add_entry(&folder.join(&name), &name, depth)?;
        }
        Ok(())
    }

    fn add_entry(&mut self, path: &Path, name: &OsStr, depth: usize) -> anyhow::Result<()> {
        if name.as_encoded_bytes().starts_with(b".") {
            self.leave(path, "hidden");
            return Ok(());
        }
        // Follows links, of which folders that Kubernetes mounts are full. What cannot be read may be a
        // folder, whatever its name.
        let failed = || format!("{} cannot be read", path.display());
        let found = path.metadata().with_context(failed)?;
        if found.is_dir() {
            return self.add_below(path, depth + 1);
        }
        match kind(path) {
            None => self.leave(path, "not *.yaml, *.yml or *.json"),
            Some(_) if !found.is_file() => {
                anyhow::bail!("{} is no file: take it away, or rename it", path.display())
            }
            Some((Kind::Policies, stem, _)) if is_schema(path, stem)? => {
                if !OURS.iter().any(|ours| name == *ours) {
                    self.leave(path, "a schema");
                }
            }
            Some((Kind::Tests, ..)) => self.tests.push(path.to_owned()),
            Some((Kind::Policies, ..)) => self.policies.push(path.to_owned()),
        }
        Ok(())
    }

    fn leave(&mut self, path: &Path, why: &str) {
        if self.left.len() == NAMED_MAX {
            self.left_unnamed += 1;
            return;
        }
        let path = path.display().to_string();
        self.left
            .push(format!("{} ({why})", without_controls(&path)));
    }

    /// What is not read, in a line; none where all is.
    pub(super) fn not_read(&self) -> Option<String> {
        let more = match self.left_unnamed {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let left = self.left.join(", ");
        (!self.left.is_empty()).then(|| format!("not read: {left}{more}"))
    }
}

/// Whether it is a JSON Schema by its name and by what is in it: policies may have such a name.
fn is_schema(file: &Path, stem: &[u8]) -> anyhow::Result<bool> {
    let stem = stem.to_ascii_lowercase();
    let ending = file.extension().unwrap_or_default();
    if !ending.eq_ignore_ascii_case("json") || stem != b"schema" && !stem.ends_with(b".schema") {
        return Ok(false);
    }
    let content = serde_json::from_str::<serde_json::Value>(&text_of(file)?).unwrap_or_default();
    let says = |key| content.get(key).and_then(serde_json::Value::as_str);
    Ok(
        says("$schema").is_some_and(|of| of.contains("json-schema.org"))
            && content.get("policies").is_none(),
    )
}
