//! `quell policy history|diff|rollback`: the real program on a database with a past.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::apply::{folder, path, policy, system_user};
use crate::support::{ACME, OPERATOR, TestApp};

const FIRST: &str = "
policies:
  - name: mics
    match: { room: [\"webinar-*\"], source: [MICROPHONE, UNKNOWN] }
    effect: mute
  - name: phones
    match: { kind: SIP }
    effect: mute
";
const SECOND: &str = "
policies:
  - name: mics
    description: Only hosts speak
    match: { room: [\"webinar-*\", \"townhall\"], source: [MICROPHONE, UNKNOWN] }
    effect: mute
    mode: dry_run
    priority: 200
  - name: phones
    match: { kind: SIP }
    effect: mute
";

/// The command's exit code.
fn code(printed: &str) -> &str {
    printed.split('\n').next().unwrap()
}

#[tokio::test]
async fn a_policy_is_followed_from_its_first_revision_to_its_way_back() {
    let app = TestApp::new().await;
    let run = async |arguments: &[&str]| policy(Some(&app), arguments).await;
    insta::assert_snapshot!("history_of_nothing", run(&["history"]).await);
    insta::assert_snapshot!("history_of_nobody", run(&["history", "mics"]).await);

    let files = folder(&[("p.yaml", FIRST)]);
    run(&["apply", path(&files)]).await;
    insta::assert_snapshot!("diff_of_first", run(&["diff", "phones"]).await);
    fs::write(files.path().join("p.yaml"), SECOND).unwrap();
    let planned = run(&["diff", "--file", path(&files)]).await;
    insta::assert_snapshot!("diff_of_files", planned);
    run(&["apply", path(&files)]).await;
    let planned = run(&["diff", "--file", path(&files)]).await;
    insta::assert_snapshot!("diff_of_same_files", planned);
    insta::assert_snapshot!("diff_of_last_change", run(&["diff", "mics"]).await);

    insta::assert_snapshot!("rollback", run(&["rollback", "mics", "--to", "1"]).await);
    let again = run(&["rollback", "mics", "--to", "1"]).await;
    insta::assert_snapshot!("rollback_to_the_same", again);
    let same = run(&["diff", "mics", "1", "3"]).await;
    assert_eq!(same, "0\n(operator)/mics: revisions 1 and 3 are the same\n");
    let same = run(&["diff", "mics", "1"]).await;
    assert_eq!(code(&same), "0", "the newest is meant: {same}");

    // In no file any more: pruned, and brought back all the same.
    fs::write(files.path().join("p.yaml"), "policies: []").unwrap();
    let prune = ["--prune", "--operator", path(&files)];
    let planned = ["diff", "--prune", "--operator", "--file", path(&files)];
    insta::assert_snapshot!("diff_of_prune", run(&planned).await);
    run(&[&["apply"], &prune[..]].concat()).await;
    insta::assert_snapshot!("diff_of_deleted", run(&["diff", "mics"]).await);
    let gone = run(&["rollback", "mics", "--to", "4"]).await;
    insta::assert_snapshot!("rollback_to_a_deletion", gone);
    run(&["rollback", "mics", "--to", "2", "--operator"]).await;
    insta::assert_snapshot!("history", run(&["history", "mics"]).await);
    insta::assert_snapshot!("history_of_all", run(&["history"]).await);
    let two = run(&["history", "--limit", "2", "--operator"]).await;
    insta::assert_snapshot!("history_of_two", two);
    let made = app.lines("restored_from = 2").await;
    let user = system_user();
    let line = format!("cli policy.create done cli:{user} - - - - mics@5");
    assert_eq!(made, [line]);
    app.finish().await;
}

#[tokio::test]
async fn owners_are_told_apart_and_so_is_who_keeps_a_policy() {
    let app = TestApp::new().await;
    let run = async |arguments: &[&str]| policy(Some(&app), arguments).await;
    let body = json!({"name": "mics", "match": {}, "effect": "mute", "description": "line\n--- x"});
    for token in [ACME, OPERATOR] {
        let made = app.api(Method::POST, token, "/v1/policies").json(&body);
        assert_eq!(made.send().await.unwrap().status(), 201);
    }
    // The same text, which files are to keep from now on.
    let shown = run(&["show", "mics"]).await;
    let (_, yaml) = shown.split_once('\n').unwrap();
    let files = folder(&[("p.yaml", yaml)]);
    let planned = run(&["diff", "--file", path(&files)]).await;
    let planned = planned.replace(path(&files), "FOLDER");
    insta::assert_snapshot!("diff_of_keeper", planned);
    run(&["apply", path(&files)]).await;
    insta::assert_snapshot!("history_of_keeper", run(&["history", "mics"]).await);
    let acmes = run(&["history", "mics", "--owner", "acme"]).await;
    insta::assert_snapshot!("history_of_owner", acmes);
    let acmes = run(&["history", "--owner", "acme"]).await;
    assert_eq!(acmes.lines().count(), 3, "{acmes}");
    let nobodys = run(&["history", "--owner", "globex"]).await;
    assert_eq!(nobodys, "0\nno policy of globex was ever written\n");
    let acmes = run(&["rollback", "mics", "--to", "2", "--owner", "acme"]).await;
    assert!(
        acmes.contains("there is no revision 2: the newest is 1"),
        "{acmes}"
    );
    let globexs = run(&["rollback", "mics", "--to", "1", "--owner", "globex"]).await;
    assert!(
        globexs.contains("globex/mics, and there was none"),
        "{globexs}"
    );
    app.finish().await;
}

#[tokio::test]
async fn diff_of_files_says_what_apply_then_does() {
    let app = TestApp::new().await;
    let body = json!({"name": "mics", "match": {}, "effect": "mute"});
    let made = app.api(Method::POST, ACME, "/v1/policies").json(&body);
    assert_eq!(made.send().await.unwrap().status(), 201);
    let acmes = format!("{SECOND}  - {{ name: phones, owner: acme, match: {{}}, effect: mute }}\n");
    let acmes = format!("{acmes}  - {{ name: mics, owner: acme, match: {{}}, effect: mute }}\n");
    for (text, prune, done) in [
        (
            FIRST,
            &[][..],
            "2 created, 0 updated, 0 unchanged, 0 deleted",
        ),
        (&acmes, &[], "1 created, 2 updated, 1 unchanged, 0 deleted"),
        (
            &acmes,
            &["--operator"],
            "0 created, 0 updated, 4 unchanged, 0 deleted",
        ),
        (
            "policies: []",
            &[],
            "0 created, 0 updated, 0 unchanged, 0 deleted",
        ),
        (
            "policies: []",
            &["--operator"],
            "0 created, 0 updated, 0 unchanged, 2 deleted",
        ),
        (
            FIRST,
            &["--owner", "acme"],
            "2 created, 0 updated, 0 unchanged, 2 deleted",
        ),
    ] {
        let files = folder(&[("p.yaml", text)]);
        let prune = match prune {
            [] => Vec::new(),
            owner => [&["--prune"], owner].concat(),
        };
        let planned = [&["diff", "--file", path(&files)], &prune[..]].concat();
        let planned = policy(Some(&app), &planned).await;
        let told = format!("if applied: {done}");
        assert!(planned.contains(&told), "{text} {prune:?}:\n{planned}");
        let differs = !done.starts_with("0 created, 0 updated") || !done.ends_with(" 0 deleted");
        assert_eq!(code(&planned), if differs { "1" } else { "0" });
        let applied = [&["apply", path(&files)], &prune[..]].concat();
        let applied = policy(Some(&app), &applied).await;
        assert!(applied.contains(done), "{text} {prune:?}:\n{applied}");
    }
    app.finish().await;
}

#[tokio::test]
async fn diff_ends_with_two_on_trouble_as_diff_does() {
    let app = TestApp::new().await;
    let files = folder(&[("p.yaml", FIRST)]);
    let files = path(&files);
    policy(Some(&app), &["apply", files]).await;
    for (arguments, says) in [
        (&["diff"][..], "quell policy diff --file <PATH>..."),
        (&["diff", "nobody"], "there is no policy (operator)/nobody"),
        (&["diff", "mics", "7"], "no revision 7: the newest is 1"),
        (
            &["diff", "mics", "1", "7"],
            "no revision 7: the newest is 1",
        ),
        (&["diff", "mics", "0"], "0 is not in 1..="),
        (&["diff", "mics", "--file", files], "cannot be used with"),
        (&["diff", "--file", "/nowhere"], "/nowhere cannot be read"),
        (&["diff", "--operator", "--file", files], "add --prune"),
        (&["diff", "--prune", "--file", files], "<--owner"),
    ] {
        let printed = policy(Some(&app), arguments).await;
        assert_eq!(code(&printed), "2", "{arguments:?}: {printed}");
        assert!(printed.contains(says), "{arguments:?}: {printed}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_long_history_is_read_in_pages_up_to_its_limit() {
    let app = TestApp::new().await;
    let many = "
        insert into policy_revision (name, revision, change, document, author, managed_by)
        select 'p', n, case n when 1 then 'create' else 'update' end,
               jsonb_build_object('name', 'p', 'priority', n), 'x', 'rest'
        from generate_series(1, 250) n";
    sqlx::query(many).execute(&app.pool).await.unwrap();
    for (limit, rows, last) in [
        ("250", 250, "       1 create"),
        ("249", 249, "... there are older ones: --limit 498"),
        ("100", 100, "... there are older ones: --limit 200"),
        ("101", 101, "... there are older ones: --limit 202"),
        ("1000", 250, "       1 create"),
    ] {
        for name in [&["p"][..], &[]] {
            let arguments = [&["history", "--limit", limit], name].concat();
            let printed = policy(Some(&app), &arguments).await;
            assert_eq!(code(&printed), "0");
            let is_row = |line: &&str| line.contains(" update ") || line.contains(" create ");
            assert_eq!(
                printed.lines().filter(is_row).count(),
                rows,
                "{arguments:?}"
            );
            assert_eq!(printed.matches("REVISION").count(), 1, "one heading");
            assert!(printed.lines().last().unwrap().contains(last), "{printed}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn programs_read_policies_and_revisions_as_json() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: p, owner: acme, match: {}, effect: mute, mode: dry_run }]")
        .await;
    for (asked, expected) in [
        (
            &["list", "--owner", "acme"][..],
            json!({"owner": "acme", "revision": 1, "mode": "dry_run"}),
        ),
        (
            &["history", "p", "--owner", "acme"],
            json!({"owner": "acme", "revision": 1, "change": "create"}),
        ),
    ] {
        let printed = policy(Some(&app), &[asked, &["--format", "json"]].concat()).await;
        let (code, line) = printed.split_once('\n').unwrap();
        let told: Value = serde_json::from_str(line).unwrap();
        assert_eq!(code, "0");
        for (field, value) in expected.as_object().unwrap() {
            let own = told.get(field).or_else(|| told["policy"].get(field));
            assert_eq!(own, Some(value), "{told}");
        }
    }
    let nobodys = ["history", "--owner", "nobody", "--format", "json"];
    assert_eq!(policy(Some(&app), &nobodys).await, "0\n");
    app.finish().await;
}
