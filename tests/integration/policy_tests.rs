//! `quell policy test`, and what `check` and `apply` do about tests: the real program, on files.

use std::fmt::Write;
use std::fs;

use reqwest::Method;

use crate::apply::{folder, path, policy, policy_command};
use crate::support::{OPERATOR, TestApp};

const MICS: &str = "policies:
  - { name: mics, match: { room: webinar-*, type: AUDIO }, unless: { identity: host-* }, effect: mute }
  - { name: off, match: { room: x }, effect: mute, mode: off }
";
const AGENTS: &str =
    "policies: [{ name: agents, match: { kind: AGENT }, effect: exempt, reason: heard }]";
const PASSES: &str = "
defaults: { room: { name: webinar-1 } }
tests:
  - { name: attendees are muted, expect: { mute: mics } }
  - { name: hosts speak, facts: { participant: { identity: host-1 } }, expect: nothing }
";
const FAILS: &str = "
tests:
  - { name: attendees are muted, expect: { mute: mics } }
  - { name: nobody is muted in the lobby, expect: nothing }
";

/// What the command prints, with the folder's path as `FOLDER`.
async fn run(app: Option<&TestApp>, arguments: &[&str], folder: &str) -> String {
    policy(app, arguments).await.replace(folder, "FOLDER")
}

#[tokio::test]
async fn tests_pass_or_fail_with_what_the_policies_say() {
    let files = folder(&[
        ("mics.yaml", MICS),
        ("mics.test.yaml", PASSES),
        ("agents.yaml", AGENTS),
    ]);
    let at = path(&files);
    insta::assert_snapshot!("passed", run(None, &["test", at], at).await);
    insta::assert_snapshot!(
        "passed_verbose",
        run(None, &["test", "--verbose", at], at).await
    );

    fs::write(files.path().join("mics.test.yaml"), FAILS).unwrap();
    insta::assert_snapshot!("failed", run(None, &["test", at], at).await);
    insta::assert_snapshot!("check_failed", run(None, &["check", at], at).await);
}

#[tokio::test]
async fn a_file_stands_for_the_tests_beside_it() {
    let together = "
policies: [mics.yaml, more/agents.yaml]
defaults: { room: { name: webinar-1 } }
tests:
  - { name: agents speak, facts: { participant: { kind: AGENT } }, expect: { exempted_by: agents } }
";
    let files = folder(&[
        ("mics.yaml", MICS),
        ("mics.test.yml", PASSES),
        (
            "other.yml",
            "policies: [{ name: other, match: { room: y }, effect: mute }]",
        ),
        (
            "other.test.yaml",
            "tests: [{ name: y, facts: { room: { name: y } }, expect: { mute: other } }]",
        ),
        ("both.test.yaml", together),
    ]);
    fs::create_dir(files.path().join("more")).unwrap();
    fs::write(files.path().join("more/agents.yaml"), AGENTS).unwrap();
    let at = |name: &str| format!("{}/{name}", path(&files));
    let (mics, other, both) = (at("mics.yaml"), at("other.yml"), at("both.test.yaml"));
    for (paths, ends) in [
        // With its own, and the one that names it.
        (vec![mics.as_str()], "3 passed, 0 failed\n"),
        (vec![other.as_str()], "1 passed, 0 failed\n"),
        (vec![both.as_str()], "1 passed, 0 failed\n"),
        // As a shell writes *.yaml: nothing is run twice.
        (
            vec![
                mics.as_str(),
                &at("mics.test.yml"),
                &other,
                &at("other.test.yaml"),
                &both,
            ],
            "4 passed, 0 failed\n",
        ),
        (vec![path(&files)], "4 passed, 0 failed\n"),
    ] {
        let arguments: Vec<_> = [&["test"], paths.as_slice()].concat();
        let printed = policy(None, &arguments).await;
        assert_eq!(printed, format!("0\n{ends}"), "{paths:?}");
    }
    let checked = policy(None, &["check", path(&files)]).await;
    assert_eq!(checked, "0\n4 policies, no errors; 4 tests passed\n");
    let alone = policy(None, &["check", &both]).await;
    assert!(
        alone.starts_with("1\n") && alone.contains("name the files of policies"),
        "{alone}"
    );
}

#[tokio::test]
async fn a_folder_may_hold_tests_alone() {
    let tests = format!("policies: ../policies/mics.yaml{PASSES}");
    let files = folder(&[("policies.txt", "")]);
    for (name, text) in [
        ("policies/mics.yaml", MICS),
        ("tests/mics.test.yaml", &tests),
    ] {
        let file = files.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let at = |name: &str| format!("{}/{name}", path(&files));
    let printed = policy(None, &["test", &at("tests")]).await;
    assert_eq!(printed, "0\n2 passed, 0 failed\n");
    let checked = policy(None, &["check", &at("tests")]).await;
    assert!(checked.contains("name the files of policies"), "{checked}");
    let both = policy(None, &["check", &at("policies"), &at("tests")]).await;
    assert_eq!(both, "0\n2 policies, no errors; 2 tests passed\n");
}

#[tokio::test]
async fn a_file_brings_the_tests_that_name_it_and_is_what_its_own_test_is_about() {
    let fails = "policies: mics.yaml\ntests: [{ name: lobby, expect: { mute: mics } }]";
    let json = r#"{"policies": [{"name": "p", "match": {"room": "p"}, "effect": "mute"}]}"#;
    let files = folder(&[
        ("mics.yaml", MICS),
        ("regression.test.yaml", fails),
        ("p.json", json),
        (
            "p.test.yaml",
            "tests: [{ name: p, facts: { room: { name: p } }, expect: { mute: p } }]",
        ),
        (
            "unreadable.test.yaml",
            "policies: mics.yaml\ntests: [{ nam: a }]",
        ),
        ("others.test.yaml", "policies: other.yaml\ntests: []"),
    ]);
    let at = |name: &str| format!("{}/{name}", path(&files));
    // A file that cannot be read, and that may be about it, is told of.
    let checked = policy(None, &["check", &at("mics.yaml")]).await;
    assert!(checked.contains("unreadable.test.yaml:2"), "{checked}");
    fs::remove_file(at("unreadable.test.yaml")).unwrap();
    let checked = policy(None, &["check", &at("mics.yaml")]).await;
    assert!(
        checked.starts_with("1\n") && checked.contains("1 of 1 tests failed"),
        "{checked}"
    );
    let checked = policy(None, &["check", &at("p.json")]).await;
    assert_eq!(checked, "0\n1 policy, no errors; 1 test passed\n");
    // A file in the folder that one stands in is named without it.
    let mut command = policy_command(None, &["test", "p.json", "p.test.yaml"]);
    let output = command.current_dir(files.path()).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "1 passed, 0 failed\n");
    let mut command = policy_command(None, &["test", "mics.yaml"]);
    let output = command.current_dir(files.path()).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("FAILED  regression.test.yaml:2  lobby"),
        "{printed}"
    );
}

#[tokio::test]
async fn owners_and_tests_cannot_turn_a_terminal_around() {
    let hostile =
        "policies: [{ name: mics, owner: \"ac\\u202eme\", match: { room: x }, effect: mute }]";
    let tests = "tests: [{ name: \"hid\\u200bden\", expect: nothing }]";
    let files = folder(&[
        ("mics.yaml", MICS),
        ("mics.test.yaml", tests),
        ("acme.yaml", hostile),
    ]);
    let at = |file: &str| format!("{}/{file}", path(&files));
    let mut printed = policy(None, &["test", "--verbose", &at("mics.yaml")]).await;
    assert!(printed.contains("hid\u{fffd}den"), "{printed:?}");
    printed += &policy(None, &["check", &at("acme.yaml")]).await;
    assert!(printed.contains("U+202E"), "{printed:?}");
    assert!(!printed.contains(['\u{202e}', '\u{200b}']), "{printed:?}");

    // What ids tenants have is for the one to say who lets them in.
    let app = TestApp::new().await;
    let body = serde_json::json!({"name": "mics", "match": {"room": "x"}, "effect": "mute"});
    let made = app
        .api(Method::POST, OPERATOR, "/v1/policies?owner=ac%E2%80%AEme")
        .json(&body);
    assert_eq!(made.send().await.unwrap().status().as_u16(), 201);
    let mut printed = String::new();
    sqlx::query("update policy set updated_by = E'b\\u202eb'")
        .execute(&app.pool)
        .await
        .unwrap();
    for arguments in [
        &["list"][..],
        &["history"],
        &["show", "mics", "--owner", "ac\u{202e}me"],
    ] {
        let shown = policy(Some(&app), arguments).await;
        assert!(shown.starts_with("0\n"), "{shown}");
        printed.push_str(&shown);
    }
    assert!(printed.contains("ac\u{fffd}me/mics"), "{printed:?}");
    assert!(printed.contains("by b\u{fffd}b"), "{printed:?}");
    assert!(printed.contains("owner: \"ac\\u202eme\""), "{printed:?}");
    assert!(!printed.contains('\u{202e}'), "{printed:?}");
    app.finish().await;
}

#[tokio::test]
async fn policies_whose_tests_fail_are_not_applied() {
    let app = TestApp::new().await;
    let files = folder(&[("mics.yaml", MICS), ("mics.test.yaml", FAILS)]);
    let at = path(&files);
    let mics = format!("{at}/mics.yaml");
    insta::assert_snapshot!("not_applied", run(Some(&app), &["apply", at], at).await);
    let same = run(Some(&app), &["apply", &mics], at).await;
    assert!(
        same.starts_with("1\n") && same.contains("1 of 2 tests failed"),
        "{same}"
    );
    for table in ["policy", "policy_revision", "audit_log"] {
        let rows = app.sql(&format!("select count(*) from {table}")).await;
        assert_eq!(rows.as_deref(), Some("0"), "{table}");
    }
    fs::write(files.path().join("mics.test.yaml"), PASSES).unwrap();
    let applied = run(Some(&app), &["apply", at], at).await;
    assert!(
        applied.starts_with("0\n") && applied.contains("2 created"),
        "{applied}"
    );
    app.finish().await;
}

#[tokio::test]
async fn tests_that_cannot_be_run_are_told_of_all_at_once() {
    let files = folder(&[
        ("mics.yaml", MICS),
        (
            "mics.test.yaml",
            "tests: [{ name: a, expect: { mute: mic } }]",
        ),
        ("orphan.test.yaml", "tests: []"),
        (
            "typo.test.yaml",
            "policies: mics.yaml\ntests: [{ nam: a, expect: nothing }]",
        ),
        (
            "lost.test.yaml",
            "policies: [mics.yaml, lost.yaml]\ntests: []",
        ),
        ("broken.test.yaml", "policies: .more/broken.yaml\ntests: []"),
    ]);
    fs::create_dir(files.path().join(".more")).unwrap();
    fs::write(
        files.path().join(".more/broken.yaml"),
        "policies: [{ name: a }]",
    )
    .unwrap();
    fs::write(files.path().join("latin1.test.yaml"), b"# caf\xe9").unwrap();
    let at = path(&files);
    insta::assert_snapshot!("cannot_run", run(None, &["test", at], at).await);
    for command in ["check", "apply"] {
        let printed = run(None, &[command, at], at).await;
        assert!(
            printed.starts_with("1\n") && printed.contains("did you mean mics?"),
            "{printed}"
        );
    }
}

#[tokio::test]
async fn policies_that_no_test_names_are_counted() {
    let mut yaml = "policies:\n".to_owned();
    for n in 0..13 {
        writeln!(
            yaml,
            "- {{ name: p{n:02}, match: {{ room: r{n} }}, effect: mute }}"
        )
        .unwrap();
    }
    let files = folder(&[("many.yaml", &yaml)]);
    let checked = policy(None, &["check", path(&files)]).await;
    assert_eq!(checked, "0\n13 policies, no errors\n");
    let printed = policy(None, &["test", path(&files)]).await;
    assert!(
        printed.starts_with("0\n0 passed, 0 failed\n13 policies have no test: (operator)/p00, ")
            && printed.ends_with("(operator)/p09 and 3 more\n"),
        "{printed}"
    );
}

#[tokio::test]
async fn the_schemas_are_printed_as_they_are_committed() {
    for (arguments, file) in [
        (vec!["schema"], "schema.json"),
        (vec!["schema", "--tests"], "test.schema.json"),
    ] {
        let committed = format!("{}/policies/{file}", env!("CARGO_MANIFEST_DIR"));
        let committed = fs::read_to_string(committed).unwrap();
        assert_eq!(
            policy(None, &arguments).await,
            format!("0\n{committed}"),
            "{file}"
        );
    }
}

/// Nobody learns from an example that says nothing of what should come of it.
#[tokio::test]
async fn every_example_is_named_by_a_test_that_passes() {
    let said = run(None, &["test", "policies"], "policies").await;
    assert!(said.starts_with("0\n"), "{said}");
    assert!(!said.contains("no test"), "{said}");
}
