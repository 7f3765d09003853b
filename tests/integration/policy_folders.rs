//! Folders of policies: what is read, what is said of the rest, and what `--prune` leaves.

use std::fs;

use crate::apply::{path, policy};
use crate::support::TestApp;

fn mute(name: &str) -> String {
    format!("policies: [{{ name: {name}, match: {{ room: {name} }}, effect: mute }}]")
}

/// A folder with these files, also in folders below.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

#[tokio::test]
async fn what_stands_in_folders_below_is_applied_and_not_pruned() {
    let app = TestApp::new().await;
    let json = r#"{"policies": [{"name": "c", "match": {"room": "c\/1"}, "effect": "mute"}]}"#;
    let tests = "tests: [{ name: b is muted, facts: { room: { name: b } }, expect: { mute: b } }]";
    let files = folder(&[
        ("a.yaml", &mute("a")),
        ("below/B.YAML", &mute("b")),
        ("below/B.test.yaml", tests),
        ("below/further/c.json", json),
        (".hidden.yaml", &mute("hidden")),
        ("a.yaml~", &mute("backup")),
        (
            "schema.json",
            r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#,
        ),
    ]);
    let prune = ["apply", "--prune", "--operator", path(&files)];
    let not_read =
        "not read: FOLDER/.hidden.yaml (hidden), FOLDER/a.yaml~ (not *.yaml, *.yml or *.json)\n";
    for outcome in ["created", "unchanged"] {
        let printed = policy(Some(&app), &prune)
            .await
            .replace(path(&files), "FOLDER");
        let lines =
            ["a", "b", "c"].map(|name| format!("{outcome:<9}  (operator)/{name}  revision 1\n"));
        let count = |wanted| if wanted == outcome { 3 } else { 0 };
        let counts = format!(
            "{} created, 0 updated, {} unchanged, 0 deleted\n",
            count("created"),
            count("unchanged")
        );
        assert_eq!(
            printed,
            format!("0\n1 tests passed\n{}{counts}{not_read}", lines.concat())
        );
    }

    // What could be policies and cannot be read is never as if it were not there.
    fs::rename(files.path().join("below"), files.path().join("moved")).unwrap();
    std::os::unix::fs::symlink("nothing", files.path().join("below.yaml")).unwrap();
    let refused = policy(Some(&app), &prune).await;
    assert!(
        refused.starts_with("1\n") && refused.contains("below.yaml cannot be read"),
        "{refused}"
    );
    fs::remove_file(files.path().join("below.yaml")).unwrap();
    // A folder that is away may be full of them.
    std::os::unix::fs::symlink("../away", files.path().join("below")).unwrap();
    let refused = policy(Some(&app), &prune).await;
    assert!(
        refused.starts_with("1\n") && refused.contains("below cannot be read"),
        "{refused}"
    );
    fs::remove_file(files.path().join("below")).unwrap();
    let moved = policy(Some(&app), &prune).await;
    assert!(moved.contains("3 unchanged, 0 deleted"), "{moved}");
    fs::remove_dir_all(files.path().join("moved")).unwrap();
    let pruned = policy(Some(&app), &prune).await;
    assert!(pruned.contains("1 unchanged, 2 deleted"), "{pruned}");
    app.finish().await;
}

#[tokio::test]
async fn a_condition_without_quotes_is_refused_and_not_turned_around() {
    let files = folder(&[
        (
            "a.yaml",
            "policies:\n  - name: a\n    match: { type: AUDIO }\n    when: ! participant.is_publisher\n    effect: mute\n",
        ),
        ("a.test.yaml", "tests: [{ name: x, expect: !!str nothing }]"),
    ]);
    let at = path(&files);
    let printed = policy(None, &["check", at]).await.replace(at, "FOLDER");
    let says = "1\nerror: the policies cannot be used:\nFOLDER/a.yaml:4:11: policies[0].when: `!` starts a \
                YAML tag here, not text; put it in quotes\n";
    assert_eq!(printed, says);
    let printed = policy(None, &["test", &format!("{at}/a.test.yaml")]).await;
    assert!(
        printed.contains("a.test.yaml:1:28: tests[0].expect: `!` starts a YAML tag"),
        "{printed}"
    );
}
