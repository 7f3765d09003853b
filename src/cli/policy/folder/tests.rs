//! Which files of a folder are read, and what is an error.

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
        let schema = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"policies": {}}}"#;
        let is_schema = file.ends_with("schema.json");
        fs::write(path, if is_schema { schema } else { "" }).unwrap();
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
    symlink("nothing", at(".#c.yaml")).unwrap();
    let says = "c.yaml x/a.yaml y/b.yaml\n\nnot read: .#c.yaml (hidden), ..data (hidden), \
                x/again (read already, by another path), x/loop (read already, by another path), \
                z (read already, by another path)";
    assert_eq!(found(files.path()), says);
}

/// A folder that is away is full of policies that `--prune` would remove.
#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_an_error() {
    for (name, to, says) in [
        ("b.yaml", "nothing", "No such file"),
        ("team", "../mnt", "No such file"),
        ("team", "team", "Too many levels of symbolic links"),
        ("v1.2", "nothing", "No such file"),
        ("note.txt", "nothing", "No such file"),
        ("team", "a.yaml/x", "Not a directory"),
    ] {
        let files = folder(&["a.yaml"]);
        symlink(to, files.path().join(name)).unwrap();
        let told = found(files.path());
        assert!(
            told.starts_with(&format!("{name} cannot be read: {says}")),
            "{told}"
        );
    }
}

#[cfg(unix)]
#[test]
fn names_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let files = folder(&["a.yaml"]);
    for name in [
        b"caf\xe9.yaml".as_slice(),
        b"caf\xe9.test.YML",
        b"caf\xe9",
        b"a.ya\xe9l",
    ] {
        fs::write(files.path().join(OsStr::from_bytes(name)), "").unwrap();
    }
    let says = "a.yaml caf\u{fffd}.yaml\ncaf\u{fffd}.test.YML\nnot read: a.ya\u{fffd}l (not *.yaml, *.yml or *.json), \
                caf\u{fffd} (not *.yaml, *.yml or *.json)";
    assert_eq!(found(files.path()), says);
}

#[test]
fn a_schema_is_one_by_what_is_in_it() {
    let schema = r#""$schema": "https://json-schema.org/draft/2020-12/schema""#;
    for (name, text, expected) in [
        ("schema.json", format!("{{{schema}}}"), "a.yaml\n\n"),
        (
            "Schema.JSON",
            format!("{{{schema}}}"),
            "a.yaml\n\nnot read: Schema.JSON (a schema)",
        ),
        (
            "x.schema.json",
            format!("{{{schema}}}"),
            "a.yaml\n\nnot read: x.schema.json (a schema)",
        ),
        (
            "schema.json",
            format!("{{{schema}, \"policies\": []}}"),
            "a.yaml schema.json\n\n",
        ),
        (
            "schema.json",
            "{\"policies\": []}".to_owned(),
            "a.yaml schema.json\n\n",
        ),
        (
            "x.schema.json",
            "{\"$schema\": \"schema.json\"}".to_owned(),
            "a.yaml x.schema.json\n\n",
        ),
        (
            "schema.json",
            "policies: []".to_owned(),
            "a.yaml schema.json\n\n",
        ),
        ("schema.json", String::new(), "a.yaml schema.json\n\n"),
        (
            "schemas.json",
            format!("{{{schema}}}"),
            "a.yaml schemas.json\n\n",
        ),
    ] {
        let files = folder(&["a.yaml"]);
        fs::write(files.path().join(name), &text).unwrap();
        assert_eq!(found(files.path()), expected, "{name} {text}");
    }
}

#[cfg(unix)]
#[test]
fn what_could_be_policies_and_cannot_be_read_is_an_error() {
    let files = folder(&["a.yaml"]);
    let _listener = std::os::unix::net::UnixListener::bind(files.path().join("b.yaml")).unwrap();
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
