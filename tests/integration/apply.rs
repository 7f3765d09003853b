//! `quell policy apply|check|list|show`: the real program, on files and a database.

use std::fs;
use std::process::Stdio;

use nix::unistd::{User, getuid};
use quell::audit::{Actor, Origin};
use quell::policy_store::{self, Author};
use quell_policy::Document;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{OPERATOR, TestApp};

/// `quell policy` in the project's folder.
pub(crate) fn policy_command(app: Option<&TestApp>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command
        .arg("policy")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("USER", "the-boss")
        .env("LOGNAME", "the-boss")
        .env("SUDO_USER", "the-boss")
        .env("QUELL_LOG", "error")
        .stdin(Stdio::null());
    if let Some(app) = app {
        let url = app.config.database.url.as_ref().unwrap();
        command.env("DATABASE_URL", url.expose_secret());
    }
    command
}

/// Who the system says runs the tests.
pub(crate) fn system_user() -> String {
    let uid = getuid();
    let user = User::from_uid(uid).unwrap();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Runs it; returns its exit code and what it printed, with times taken out.
pub(crate) async fn policy(app: Option<&TestApp>, arguments: &[&str]) -> String {
    printed(policy_command(app, arguments)).await
}

/// The exit code of a command and what it printed, with times taken out.
pub(crate) async fn printed(mut command: Command) -> String {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let printed = format!(
        "{}\n{}{}",
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr)
    );
    without_user(&without_times(&printed))
}

/// The system's user becomes `[user]`, also in a column.
fn without_user(text: &str) -> String {
    let (user, shown) = (format!("cli:{}", system_user()), "cli:[user]");
    text.replace(&format!("{user:<20}"), &format!("{shown:<20}"))
        .replace(&user, shown)
}

/// Times such as `2026-03-01 12:00:00Z` become `[time]`.
fn without_times(text: &str) -> String {
    const LIKE: &str = "dddd-dd-dd dd:dd:ddZ";
    let is_time = |at: &str| {
        let shape = at.chars().take(LIKE.len());
        let shape: String = shape
            .map(|c| if c.is_ascii_digit() { 'd' } else { c })
            .collect();
        shape == LIKE
    };
    let mut left = text;
    let mut without = String::new();
    while let Some(next) = left.chars().next() {
        let taken = if is_time(left) {
            without.push_str("[time]");
            LIKE.len()
        } else {
            without.push(next);
            next.len_utf8()
        };
        left = &left[taken..];
    }
    without
}

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub(crate) fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

/// The live policies: owner, name, revision and who keeps them.
async fn live(app: &TestApp) -> String {
    let query =
        "select string_agg(concat(coalesce(owner, 'operator'), '/', name, '@', revision, ':',
                        managed_by), ' ' order by owner nulls first, name) from policy";
    app.sql(query).await.unwrap().trim_matches('"').to_owned()
}

const TWO: &str = "
policies:
  - { name: one, match: { room: [a] }, effect: mute }
  - { name: two, match: { room: [b] }, effect: mute }
";
const ONE: &str = "policies: [{ name: one, match: { room: [a] }, effect: mute }]";
const ONE_CHANGED: &str = "policies: [{ name: one, match: { room: [c] }, effect: mute }]";

/// Reading policies knows no clock; the command does.
#[tokio::test]
async fn a_policy_whose_time_is_over_is_told_of() {
    let files = folder(&[(
        "p.yaml",
        "
policies:
  - { name: old, owner: acme, match: { room: [a] }, effect: mute, not_after: 2020-01-01T00:00:00Z }
  - { name: new, match: { room: [a] }, effect: mute, not_after: 9000-01-01T00:00:00Z }
",
    )]);
    let said = policy(None, &["check", path(&files)]).await;
    assert_eq!(
        said,
        "0\n2 policies, no errors\nwarning: acme/old: its `not_after` (2020-01-01 00:00:00 UTC) is \
         over, so it does nothing; remove it or change that\n"
    );
}

#[tokio::test]
async fn the_example_policies_apply_cleanly_and_are_listed_and_shown() {
    let app = TestApp::new().await;
    insta::assert_snapshot!("check", policy(None, &["check", "policies"]).await);
    insta::assert_snapshot!("nothing_yet", policy(Some(&app), &["list"]).await);
    insta::assert_snapshot!("first", policy(Some(&app), &["apply", "policies"]).await);
    let before = app.sql("select count(*) from audit_log").await;
    insta::assert_snapshot!("again", policy(Some(&app), &["apply", "policies/"]).await);
    assert_eq!(app.sql("select count(*) from audit_log").await, before);
    insta::assert_snapshot!("list", policy(Some(&app), &["list"]).await);
    insta::assert_snapshot!("show", policy(Some(&app), &["show", "webinar-mics"]).await);
    let missing = policy(Some(&app), &["show", "webinar-mics", "--owner", "acme"]).await;
    insta::assert_snapshot!("show_missing", missing);
    // What is shown is what was written: it can be applied as it is.
    let shown = policy(Some(&app), &["show", "webinar-mics"]).await;
    let (_, yaml) = shown.split_once('\n').unwrap();
    let copy = folder(&[("copy.yaml", yaml)]);
    let applied = policy(Some(&app), &["apply", path(&copy)]).await;
    assert!(
        applied.contains("0 created, 0 updated, 1 unchanged"),
        "{applied}"
    );
    let made = app
        .lines("action = 'policy.create' and policy_name = 'webinar-mics'")
        .await;
    // Whatever `USER` says.
    let user = system_user();
    let line = format!("cli policy.create done cli:{user} - - - - webinar-mics@1");
    assert_eq!(made, [line]);
    app.finish().await;
}

#[tokio::test]
async fn files_of_several_owners_are_listed_by_owner() {
    let app = TestApp::new().await;
    let files = folder(&[
        (
            "b.yaml",
            "policies: [{ name: p, owner: acme, match: {}, effect: mute, mode: dry_run }]",
        ),
        (
            "a.yml",
            "policies: [{ name: p, match: {}, effect: exempt, reason: r, priority: 7 }]",
        ),
        (
            "c.yaml",
            "policies: [{ name: p, owner: globex, match: {}, effect: mute, mode: off }]",
        ),
        // None of these is a policy file.
        ("b.test.yaml", "tests: []"),
        ("README.md", "read me"),
        (
            "schema.json",
            r#"{"$schema": "https://json-schema.org/draft/2020-12/schema"}"#,
        ),
    ]);
    let applied = policy(Some(&app), &["apply", path(&files)]).await;
    assert!(applied.contains("3 created"), "{applied}");
    let acmes = policy(Some(&app), &["list", "--owner", "acme"]).await;
    insta::assert_snapshot!("list_of_owner", acmes);
    let operators = policy(Some(&app), &["list", "--operator"]).await;
    insta::assert_snapshot!("list_of_operator", operators);
    let shown = policy(Some(&app), &["show", "p", "--owner", "globex"]).await;
    assert!(
        shown.contains("owner: globex") && shown.contains("mode: \"off\""),
        "{shown}"
    );
    app.finish().await;
}

#[tokio::test]
async fn one_bad_file_changes_nothing_and_is_told_with_its_line() {
    let app = TestApp::new().await;
    let files = folder(&[
        ("good.yaml", TWO),
        (
            "typo.yaml",
            "policies:\n  - name: bad\n    match: { sauce: [MICROPHONE] }\n    effect: mute\n",
        ),
        ("twice.yaml", ONE),
    ]);
    for command in ["check", "apply"] {
        let printed = policy(Some(&app), &[command, path(&files)]).await;
        let printed = printed.replace(path(&files), "FOLDER");
        insta::assert_snapshot!("bad_files", printed);
    }
    let changes = app.sql("select count(*) from policy_revision").await;
    assert_eq!(changes.as_deref(), Some("0"));

    fs::write(files.path().join("latin1.yaml"), b"# caf\xe9").unwrap();
    let empty = folder(&[]);
    for (place, says) in [
        (path(&empty), "holds no *.yaml, *.yml or *.json file"),
        ("no-such-folder", "no-such-folder cannot be read"),
        (
            &format!("{}/latin1.yaml", path(&files)),
            "is not UTF-8 text: the byte at 5",
        ),
    ] {
        let printed = policy(Some(&app), &["apply", place]).await;
        assert!(
            printed.starts_with("1\n") && printed.contains(says),
            "{printed}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn an_apply_that_fails_halfway_changes_nothing() {
    let app = TestApp::new().await;
    let trap = "
        create function trap() returns trigger language plpgsql as
            $$ begin raise exception 'trapped'; end $$;
        create trigger trap before insert on policy for each row
            when (new.name = 'two') execute function trap()";
    sqlx::raw_sql(trap).execute(&app.pool).await.unwrap();
    let files = folder(&[("p.yaml", TWO)]);
    let printed = policy(Some(&app), &["apply", path(&files)]).await;
    assert!(
        printed.starts_with("1\n") && printed.contains("trapped"),
        "{printed}"
    );
    for table in ["policy", "policy_revision", "audit_log"] {
        let rows = app.sql(&format!("select count(*) from {table}")).await;
        assert_eq!(rows.as_deref(), Some("0"), "{table}");
    }
    app.finish().await;
}

#[tokio::test]
async fn prune_removes_what_apply_wrote_for_the_owner_that_is_named() {
    let app = TestApp::new().await;
    let with_acmes = format!("{TWO}  - {{ name: two, owner: acme, match: {{}}, effect: mute }}\n");
    let all = folder(&[("p.yaml", &with_acmes)]);
    policy(Some(&app), &["apply", path(&all)]).await;
    let body = json!({"name": "by-rest", "match": {}, "effect": "mute"});
    let made = app.api(Method::POST, OPERATOR, "/v1/policies").json(&body);
    assert_eq!(made.send().await.unwrap().status(), 201);

    let fewer = folder(&[("p.yaml", ONE)]);
    let refused = policy(Some(&app), &["apply", "--prune", path(&fewer)]).await;
    insta::assert_snapshot!(
        "prune_without_owner",
        refused.replace(path(&fewer), "FOLDER")
    );
    let both = [
        "apply",
        "--prune",
        "--operator",
        "--owner",
        "acme",
        path(&fewer),
    ];
    assert!(policy(Some(&app), &both).await.starts_with("2\n"));
    let pointless = policy(Some(&app), &["apply", "--operator", path(&fewer)]).await;
    assert!(
        pointless.starts_with("1\n") && pointless.contains("add --prune"),
        "{pointless}"
    );
    let without = policy(Some(&app), &["apply", path(&fewer)]).await;
    assert!(without.contains("0 deleted"), "{without}");
    let everything =
        "operator/by-rest@1:rest operator/one@1:apply operator/two@1:apply acme/two@1:apply";
    assert_eq!(live(&app).await, everything);

    let pruned = policy(
        Some(&app),
        &["apply", "--prune", "--operator", path(&fewer)],
    )
    .await;
    insta::assert_snapshot!("prune_operator", pruned);
    let left = "operator/by-rest@1:rest operator/one@1:apply acme/two@1:apply";
    assert_eq!(live(&app).await, left);
    let nobody = ["apply", "--prune", "--owner", "globex", path(&fewer)];
    assert!(policy(Some(&app), &nobody).await.contains("0 deleted"));
    policy(
        Some(&app),
        &["apply", "--prune", "--owner", "acme", path(&fewer)],
    )
    .await;
    assert_eq!(
        live(&app).await,
        "operator/by-rest@1:rest operator/one@1:apply"
    );
    let deleted = app.lines("action = 'policy.delete'").await;
    let user = system_user();
    assert_eq!(
        deleted,
        [
            format!("cli policy.delete done cli:{user} - - - - two@2"),
            format!("cli policy.delete done cli:{user} acme - - - acme/two@2"),
        ]
    );
    // It comes back as the revision after.
    policy(Some(&app), &["apply", path(&all)]).await;
    let back = "operator/by-rest@1:rest operator/one@1:apply operator/two@3:apply acme/two@3:apply";
    assert_eq!(live(&app).await, back);
    app.finish().await;
}

#[tokio::test]
async fn a_policy_belongs_to_who_wrote_it_last() {
    let app = TestApp::new().await;
    let body = json!({"name": "one", "match": {"room": ["a"]}, "effect": "mute"});
    let made = app.api(Method::POST, OPERATOR, "/v1/policies").json(&body);
    assert_eq!(made.send().await.unwrap().status(), 201);
    let files = folder(&[("p.yaml", ONE)]);
    // The same text, but the file keeps it from now on: that is a change, and is recorded.
    let applied = policy(Some(&app), &["apply", path(&files)]).await;
    assert!(applied.contains("1 updated"), "{applied}");
    assert_eq!(live(&app).await, "operator/one@2:apply");
    let put = app
        .api(Method::PUT, OPERATOR, "/v1/policies/one")
        .json(&body);
    let put = put.header("If-Match", "\"2\"").send().await.unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!(live(&app).await, "operator/one@3:rest");
    let other = "policies: [{ name: other, match: { room: [o] }, effect: mute }]";
    let other = folder(&[("p.yaml", other)]);
    policy(
        Some(&app),
        &["apply", "--prune", "--operator", path(&other)],
    )
    .await;
    assert_eq!(
        live(&app).await,
        "operator/one@3:rest operator/other@1:apply"
    );
    app.finish().await;
}

#[tokio::test]
async fn apply_tells_what_was_created_updated_and_unchanged() {
    let app = TestApp::new().await;
    let author = Author {
        origin: Origin::Cli,
        actor: Actor::CommandLine("cli:test".to_owned()),
        request: None,
    };
    for (yaml, expected) in [
        (TWO, vec!["created one@1", "created two@1"]),
        (TWO, vec!["unchanged one@1", "unchanged two@1"]),
        (ONE_CHANGED, vec!["updated one@2"]),
        (ONE, vec!["updated one@3"]),
    ] {
        let document = Document::load([("p.yaml", yaml)]).unwrap().value;
        let applied =
            policy_store::apply(&app.state().pool, &author, &document.policies, None, None);
        let lines: Vec<_> = applied
            .await
            .unwrap()
            .iter()
            .map(|line| {
                format!(
                    "{} {}@{}",
                    line.outcome.as_str(),
                    line.key.name,
                    line.revision
                )
            })
            .collect();
        assert_eq!(lines, expected, "{yaml}");
    }
    app.finish().await;
}
