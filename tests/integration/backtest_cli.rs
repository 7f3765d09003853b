//! `quell policy backtest`: the report on a terminal, for programs, and when it is stopped.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::apply::{policy, policy_command};
use crate::backtest::{a_day, tracks};
use crate::support::BOUND;

#[tokio::test]
async fn the_command_prints_a_report_for_people_or_for_programs() {
    let app = a_day().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("draft.yaml");
    fs::write(
        &file,
        r#"
policies:
  - name: webinar-mics
    match: { room: ["webinar-*", "call-*"] }
    unless: { identity: host }
    effect: mute
  - name: trial
    match: { room: "webinar-*" }
    effect: mute
    mode: dry_run
"#,
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let run = async |arguments: &[&str]| {
        let printed = policy(Some(&app), &[&["backtest"], arguments].concat()).await;
        without_sids(&printed)
    };
    insta::assert_snapshot!("backtest_overlay", run(&["--file", file]).await);
    insta::assert_snapshot!(
        "backtest_without",
        run(&["--without", "agents", "--owner", "acme", "--samples", "0"]).await
    );
    let json = run(&[
        "--file", file, "--alone", "--since", "1h", "--format", "json",
    ])
    .await;
    // After the exit code; what follows on stderr are warnings.
    let mut printed = serde_json::Deserializer::from_str(&json).into_iter::<Value>();
    let report = printed.nth(1).unwrap().unwrap();
    assert_eq!(tracks(&report["enforced"]), "3-1-2, 5-0-1: +2 -0 ~1 =3 ?0");
    assert_eq!(report["draft"]["others"], 2);
    for (arguments, error) in [
        (
            &["--file", file, "--since", "tomorrow"][..],
            "1\nerror: `since`: \"tomorrow\" is no time",
        ),
        (
            &["--file", "no/such.yaml"],
            "1\nerror: no/such.yaml cannot be read",
        ),
        (
            &["--without", "agents"],
            "1\nerror: there is no stored policy (operator)/agents",
        ),
        (
            &["--file", file, "--since", "2d", "--until", "1d"],
            "1\nerror: there are no published tracks",
        ),
        (
            &["--file", file, "--samples", "1001"],
            "1\nerror: --samples is at most 1000",
        ),
        (
            &["--since", "1d"],
            "2\nerror: the following required arguments",
        ),
        (&["--alone", "--without", "agents"], "2\nerror: "),
    ] {
        let printed = run(arguments).await;
        assert!(printed.starts_with(error), "{printed}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_command_stops_when_it_is_told_to() {
    let app = a_day().await;
    let blocked = app.block_events().await;
    let mut command = policy_command(Some(&app), &["backtest", "--without", "webinar-mics"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    app.wait_blocked().await;
    let pid = child.id().unwrap().try_into().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let ended = async {
        assert_eq!(stderr.next_line().await.unwrap().unwrap(), "stopping");
        blocked.release().await;
        let told = stderr.next_line().await.unwrap().unwrap();
        (told, child.wait_with_output().await.unwrap())
    };
    let (told, output) = tokio::time::timeout(BOUND, ended).await.unwrap();
    assert_eq!(told, "error: stopped before the end: there is no report");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    app.finish().await;
}

/// SIDs become `RM_[sid]`, `TR_[sid]`, and how far back events go `[time]`.
fn without_sids(text: &str) -> String {
    let is_sid = |word: &&str| word.starts_with("RM_") || word.starts_with("TR_");
    let mut without = text.to_owned();
    for word in text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(is_sid)
    {
        without = without.replace(word, &format!("{}[sid]", &word[..3]));
    }
    if let Some((before, rest)) = without.split_once("go back to ") {
        let (_, after) = rest.split_once(' ').unwrap();
        without = format!("{before}go back to [time] {after}");
    }
    without
}
