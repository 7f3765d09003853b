//! Which files of a folder are read: policies and tests, by their endings, in all folders below it.
//!
//! What `apply --prune` does not find it removes. So what could be a file of policies and cannot be
//! read is an error here, and whatever else is not read is named.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::terminal::without_controls;

/// The endings of what is read, in any case; where a file of tests has several to be about, the
/// first of these.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// The schemas that the manual puts beside policies, for editors: nobody wonders where they are.
const OURS: [&str; 2] = ["schema.json", "test.schema.json"];
/// Folders may be nested so deep.
const DEPTH_MAX: usize = 16;
/// So many entries may be in all of them.
const ENTRIES_MAX: usize = 100_000;
/// So many of those that are not read are named; further ones are only counted.
const NAMED_MAX: usize = 10;

/// What a file is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Policies,
    Tests,
}

/// What a file is by its name, and that without its ending, in the order of the endings.
pub(super) fn kind(file: &Path) -> Option<(Kind, &str, usize)> {
    let (stem, ending) = file.file_name()?.to_str()?.rsplit_once('.')?;
    let is = |known: &&str| ending.eq_ignore_ascii_case(known);
    let order = ENDINGS.iter().position(is)?;
    let tests = stem
        .rsplit_once('.')
        .filter(|(stem, kind)| kind.eq_ignore_ascii_case("test") && !stem.is_empty());
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
        // One that is named twice adds nothing, and is no empty one.
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
        // A link to a folder around it would have no end, and one to its neighbour reads that twice.
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
        let kind = kind(path);
        // Through links: a folder of Kubernetes' is full of them.
        let found = match path.metadata() {
            Ok(found) => found,
            Err(_) if kind.is_none() => {
                self.leave(path, "a link to nothing");
                return Ok(());
            }
            Err(error) => {
                let failed = format!("{} cannot be read", path.display());
                return Err(error).context(failed);
            }
        };
        if found.is_dir() {
            return self.add_below(path, depth + 1);
        }
        match kind {
            _ if OURS.iter().any(|schema| name == *schema) => {}
            Some((_, stem, _)) if is_schema(stem, name) => self.leave(path, "a schema"),
            None => self.leave(path, "not *.yaml, *.yml or *.json"),
            Some(_) if !found.is_file() => {
                anyhow::bail!("{} is no file: take it away, or rename it", path.display())
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

/// Whether it is a JSON Schema by its name.
fn is_schema(stem: &str, name: &OsStr) -> bool {
    let stem = stem.to_ascii_lowercase();
    let is_json = Path::new(name)
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    is_json && (stem == "schema" || stem.ends_with(".schema"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    #[cfg(unix)]
    use std::os::unix::fs::symlink;

    use super::*;

    /// What is found in a folder with these files, and what is not read.
    fn found(folder: &Path) -> String {
        let mut found = Found::default();
        let root = format!("{}/", folder.display());
        let told = match found.add(folder) {
            Ok(()) => {
                let names = |paths: &[PathBuf]| {
                    let names: Vec<_> = paths
                        .iter()
                        .map(|path| path.display().to_string())
                        .collect();
                    names.join(" ")
                };
                let left = found.not_read().unwrap_or_default();
                format!(
                    "{}\n{}\n{left}",
                    names(&found.policies),
                    names(&found.tests)
                )
            }
            Err(error) => format!("{error:#}"),
        };
        told.replace(&root, "")
            .replace(&folder.display().to_string(), "FOLDER")
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn files_are_read_by_their_endings_in_all_folders() {
        for (files, expected) in [
            (
                vec![
                    "b.yaml",
                    "a.yml",
                    "c.json",
                    "D.YAML",
                    "e.Json",
                    "x/y/f.yaml",
                ],
                "D.YAML a.yml b.yaml c.json e.Json x/y/f.yaml\n\n",
            ),
            (
                vec![
                    "a.yaml",
                    "a.test.yaml",
                    "x/b.TEST.yml",
                    "x/b.yaml",
                    "c.test.json",
                    "test.yaml",
                ],
                "a.yaml test.yaml x/b.yaml\na.test.yaml c.test.json x/b.TEST.yml\n",
            ),
            // Schemas lie beside policies.
            (
                vec![
                    "a.yaml",
                    "schema.json",
                    "x/test.schema.json",
                    "my.schema.json",
                    "schema.yaml",
                ],
                "a.yaml schema.yaml\n\nnot read: my.schema.json (a schema)",
            ),
            (
                vec![
                    "a.yaml",
                    ".b.yaml",
                    ".git/c.yaml",
                    "d.yaml~",
                    "e.yaml.bak",
                    "#f.yaml#",
                    "README.md",
                    "yaml",
                ],
                "a.yaml\n\nnot read: #f.yaml# (not *.yaml, *.yml or *.json), .b.yaml (hidden), .git (hidden), \
                 README.md (not *.yaml, *.yml or *.json), d.yaml~ (not *.yaml, *.yml or *.json), \
                 e.yaml.bak (not *.yaml, *.yml or *.json), yaml (not *.yaml, *.yml or *.json)",
            ),
            (vec![], "FOLDER holds no *.yaml, *.yml or *.json file"),
            (
                vec!["schema.json", "x/.b.yaml"],
                "FOLDER holds no *.yaml, *.yml or *.json file; not read: x/.b.yaml (hidden)",
            ),
            (vec!["a.test.yaml"], "\na.test.yaml\n"),
        ] {
            assert_eq!(found(folder(&files).path()), expected, "{files:?}");
        }
        let many: Vec<_> = (10..30).map(|n| format!("{n}.txt")).collect();
        let mut many: Vec<_> = many.iter().map(String::as_str).collect();
        many.push("a.yaml");
        let told = found(folder(&many).path());
        assert!(
            told.ends_with("19.txt (not *.yaml, *.yml or *.json) and 10 more"),
            "{told}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_no_folder_is_read_twice() {
        let files = folder(&["x/a.yaml", "z/b.yaml", "..data/c.yaml"]);
        let at = |name: &str| files.path().join(name);
        symlink(files.path(), at("x/loop")).unwrap();
        symlink("../x", at("x/again")).unwrap();
        symlink("z", at("y")).unwrap();
        symlink("..data/c.yaml", at("c.yaml")).unwrap();
        symlink("nothing", at("note.txt")).unwrap();
        let says = "c.yaml x/a.yaml y/b.yaml\n\nnot read: ..data (hidden), note.txt (a link to nothing), \
                    x/again (read already, by another path), x/loop (read already, by another path), \
                    z (read already, by another path)";
        assert_eq!(found(files.path()), says);
        let missing = folder(&["a.yaml"]);
        symlink("nothing", missing.path().join("b.yaml")).unwrap();
        let told = found(missing.path());
        assert!(
            told.starts_with("b.yaml cannot be read: No such file"),
            "{told}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn what_could_be_policies_and_cannot_be_read_is_an_error() {
        let files = folder(&["a.yaml"]);
        let _listener =
            std::os::unix::net::UnixListener::bind(files.path().join("b.yaml")).unwrap();
        assert_eq!(
            found(files.path()),
            "b.yaml is no file: take it away, or rename it"
        );
        let deep = folder(&[&format!("{}a.yaml", "x/".repeat(16))]);
        let told = found(deep.path());
        assert!(
            told.ends_with("folders are nested deeper than 16"),
            "{told}"
        );
        let fits = folder(&[&format!("{}a.yaml", "x/".repeat(15))]);
        assert!(found(fits.path()).ends_with("x/a.yaml\n\n"));
    }
}
