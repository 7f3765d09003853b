//! `quell sweep`, `quell policy plan` and `apply --plan`: the real program, without a server.

use livekit_double::{Join, Publish};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::process::Command;

use crate::apply::{policy_command, printed};
use crate::support::{MICS, TestApp};

/// Adds what the program needs to ask the double.
fn with_livekit(app: &TestApp, mut command: Command) -> Command {
    let key = app.simulator.api_key().unwrap();
    command
        .env("LIVEKIT_URL", app.simulator.url())
        .env("LIVEKIT_API_KEY", &key.key)
        .env("LIVEKIT_API_SECRET", key.secret.expose_secret());
    command
}

fn sweep_command(app: &TestApp, arguments: &[&str]) -> Command {
    let url = app.config.database.url.as_ref().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command
        .arg("sweep")
        .args(arguments)
        .env_clear()
        .env("QUELL_LOG", "error")
        .env("DATABASE_URL", url.expose_secret());
    with_livekit(app, command)
}

/// Two rooms with a microphone each, of which no webhook told.
async fn two_rooms() -> (TestApp, [String; 2]) {
    let app = TestApp::new().await;
    app.hold_webhooks();
    let tracks = ["standup", "webinar"].map(|room| {
        app.room(room, "acme");
        app.publish(room, Join::new("ann"), Publish::microphone())
            .sid
    });
    (app, tracks)
}

#[tokio::test]
async fn rooms_are_swept_by_hand_and_a_dry_run_only_shows() {
    let (app, [first, second]) = two_rooms().await;
    app.apply(MICS).await;
    let shown = printed(sweep_command(&app, &["--dry-run"])).await;
    assert!(shown.starts_with("0\n"), "{shown}");
    for line in [
        "standup of acme",
        &format!("  - ann  MICROPHONE  {first}: would be silenced by (operator)/mics"),
        "2 would be silenced, 0 no longer forbidden, 0 stay silent, 0 let speak, in 2 rooms",
    ] {
        assert!(shown.contains(line), "{line} is not in:\n{shown}");
    }
    assert_eq!(app.by_sweeps().await, [""; 0]);

    let mut command = sweep_command(&app, &["--room", "webinar"]);
    let swept = command.env("QUELL_LOG", "info").output().await.unwrap();
    let log = String::from_utf8(swept.stderr).unwrap();
    let id = app
        .sql("select id::text from sweeps where cause = 'manual'")
        .await;
    let named = format!(
        "sweep{{sweep_id={}}}: quell::sweep::run: rooms were swept",
        id.unwrap()
    );
    assert!(log.contains(&named), "{named} is not in:\n{log}");
    let out = String::from_utf8(swept.stdout).unwrap();
    let swept = format!("{}\n{out}", swept.status.code().unwrap());
    let expected = "0\n1 muted, of 1 tracks of 1 participants in 1 rooms\n0 failed, 0 with too much metadata to be read\n";
    assert_eq!(swept, expected);
    assert!(app.is_muted("webinar", "ann", &second) && !app.is_muted("standup", "ann", &first));
    let swept = printed(sweep_command(&app, &[])).await;
    assert!(
        swept.starts_with("0\n1 muted, of 2 tracks of 2 participants in 2 rooms\n"),
        "{swept}"
    );
    assert!(app.is_muted("standup", "ann", &first));
    let manual = "select count(*) from sweeps where cause = 'manual' and finished_at is not null";
    assert_eq!(app.count(manual).await, 2);

    let mut without = sweep_command(&app, &[]);
    without.env_remove("LIVEKIT_URL");
    let without = printed(without).await;
    assert!(
        without.starts_with("1\n") && without.contains("LiveKit is not configured"),
        "{without}"
    );
    app.finish().await;
}

#[tokio::test]
async fn apply_shows_a_plan_first_and_asks() {
    let (app, [first, _]) = two_rooms().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("mics.yaml");
    let mics = "policies: [{ name: mics, match: { type: [AUDIO], source: [MICROPHONE, UNKNOWN] }, effect: mute }]";
    std::fs::write(&file, mics).unwrap();
    let file = file.to_str().unwrap();
    let run = async |arguments: &[&str]| {
        printed(with_livekit(&app, policy_command(Some(&app), arguments))).await
    };
    let plan = run(&["plan", file]).await;
    let silenced = format!("  - ann  MICROPHONE  {first}: would be silenced by (operator)/mics");
    assert!(
        plan.contains("created    (operator)/mics") && plan.contains(&silenced),
        "{plan}"
    );
    let json = run(&["plan", file, "--format", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(json.split_once('\n').unwrap().1).unwrap();
    assert_eq!(json["counts"]["would_silence"], 2);

    // Without a terminal there is nobody to ask.
    let asked = run(&["apply", file, "--plan"]).await;
    assert!(
        asked.starts_with("1\n") && asked.contains(&silenced) && asked.contains("--yes"),
        "{asked}"
    );
    assert_eq!(app.count("select count(*) from policy").await, 0);
    let applied = run(&["apply", file, "--plan", "--yes"]).await;
    assert!(
        applied.starts_with("0\n") && applied.contains("1 created, 0 updated"),
        "{applied}"
    );
    // What an exemption would let speak again, and what stays.
    let exempt = "policies: [{ name: ann, match: { identity: [ann], room: [stand*] }, effect: exempt, reason: host, priority: 900 }]";
    std::fs::write(file, exempt).unwrap();
    app.state()
        .policies
        .refresh(&app.state().pool)
        .await
        .unwrap();
    app.sweep().await;
    let plan = run(&["plan", file]).await;
    assert!(
        plan.contains(&format!(
            "  + ann  MICROPHONE  {first}, muted: would no longer be forbidden by (operator)/mics"
        )),
        "{plan}"
    );
    assert!(plan.contains("0 would be silenced, 1 no longer forbidden, 1 stay silent"));
    let plan = run(&["plan", "--without", "mics"]).await;
    assert!(
        plan.contains("0 would be silenced, 2 no longer forbidden, 0 stay silent"),
        "{plan}"
    );
    let plan = run(&["plan", file, "--alone"]).await;
    assert!(
        plan.contains("0 would be silenced, 2 no longer forbidden, 0 stay silent"),
        "{plan}"
    );
    app.finish().await;
}
