//! `quell policy explain`: the real program on files, on events and on live rooms.

use std::process::Stdio;

use livekit_double::{Join, Publish};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::apply::{folder, path, policy, policy_command, printed};
use crate::explain::{WEBINAR, event_id};
use crate::support::{Setup, TestApp};

const FACTS: &str = r#"{
    "room": {"name": "webinar-1", "sid": "RM_1", "tenant": "acme", "created_at": 1772487000},
    "participant": {"identity": "ann", "sid": "PA_1", "kind": "STANDARD"},
    "track": {"sid": "TR_1", "source": "MICROPHONE"},
    "event": {"type": "track_published", "created_at": 1772487000}
}"#;

/// Ids and numbers that are others in every run become one word.
fn steady(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| {
            let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let is_time = bare.len() == 10 && bare.chars().all(|c| c.is_ascii_digit());
            let kinds = ["RM_", "PA_", "TR_", "EV_"];
            match kinds.iter().find(|kind| bare.starts_with(**kind)) {
                Some(kind) => word.replace(bare, &format!("{kind}[id]")),
                None if is_time => word.replace(bare, "[unix]"),
                None => word.to_owned(),
            }
        });
        let line = words.collect::<Vec<_>>().join(" ");
        match line.split_once("ListRooms") {
            Some((start, _)) if start.starts_with("room.num_") => {
                format!("{start}ListRooms [lags]")
            }
            _ => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn files_are_explained_with_facts_and_without_a_database() {
    let rest = "  - { name: far, match: { type: VIDEO }, effect: mute }\n".to_owned();
    let many = (0..25).map(|n| {
        format!("  - {{ name: other-{n:02}, match: {{ room: other-{n:02} }}, effect: mute }}\n")
    });
    let yaml = format!("{WEBINAR}{rest}{}", many.collect::<String>());
    let files = folder(&[("p.yaml", &yaml), ("facts.json", FACTS)]);
    let facts = files.path().join("facts.json");
    let facts = facts.to_str().unwrap();
    let policies = files.path().join("p.yaml");
    let policies = policies.to_str().unwrap();
    let arguments = ["explain", "--facts", facts, "--file", policies];
    let at = [&arguments[..], &["--at", "2026-03-02T22:30:00+01:00"]].concat();
    let shown = policy(None, &at).await.replace(path(&files), "FOLDER");
    insta::assert_snapshot!("unknown_attributes", shown);
    let all = policy(None, &[&at[..], &["--all"]].concat()).await;
    assert!(all.contains("(operator)/far "), "{all}");
    assert!(all.contains("(operator)/other-24 "), "{all}");
    assert!(!all.contains("that do not apply"), "{all}");

    // Whoever publishes chooses names, and a terminal obeys them.
    let hostile = FACTS.replace("\"ann\"", r#""\u001b[2J\n\u009b1A""#);
    let names = folder(&[("facts.json", &hostile)]);
    let names = names.path().join("facts.json");
    let arguments = [
        "explain",
        "--facts",
        names.to_str().unwrap(),
        "--file",
        policies,
    ];
    let shown = policy(None, &arguments).await;
    assert!(
        shown.contains(" of \u{fffd}[2J\u{fffd}\u{fffd}1A in webinar-1"),
        "{shown}"
    );

    // On stdin, and for programs: as REST answers, which can be asked about again.
    let json = [
        "explain", "--facts", "-", "--file", policies, "--format", "json",
    ];
    let ask = async |input: &str| {
        let mut command = policy_command(None, &json);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = ask(FACTS).await;
    assert_eq!(first["policies"], "files");
    assert_eq!(first["decision"]["as_of"], Value::Null);
    let again = ask(&first.to_string()).await;
    assert_eq!(again["facts"], first["facts"]);
    assert_eq!(again["candidates"], first["candidates"]);
    assert_eq!(again["at"], first["at"]);

    // A question as REST takes it says for when; --at is nearer.
    let question = format!(r#"{{"facts": {FACTS}, "at": "2026-03-02T22:30:00+01:00"}}"#);
    let then = ask(&question).await;
    assert_eq!(then["at"], "2026-03-02T21:30:00Z");
    let asked = folder(&[("question.json", &question)]);
    let asked = asked.path().join("question.json");
    let asked = [
        "explain",
        "--facts",
        asked.to_str().unwrap(),
        "--file",
        policies,
    ];
    let nearer = ["--at", "2026-05-01T10:00:00Z", "--format", "json"];
    let other = policy(None, &[&asked[..], &nearer].concat()).await;
    assert!(other.contains(r#""at": "2026-05-01T10:00:00Z""#), "{other}");
}

#[tokio::test]
async fn events_are_explained_by_the_policies_of_then_now_and_in_files() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let hostile = Join {
        name: "\u{1b}[2J\nann".to_owned(),
        ..Join::new("ann").attribute("role", "guest")
    };
    let ann = app.publish("webinar-1", hostile, Publish::microphone());
    app.settle().await;
    let id = event_id(&app, &ann.sid);
    let changed = WEBINAR.replace("\"webinar-*\"", "\"town-*\"");
    app.apply(&changed).await;
    let run = async |arguments: &[&str]| {
        let arguments = [&["explain", "--event", &id], arguments].concat();
        steady(&policy(Some(&app), &arguments).await)
    };
    let then = run(&[]).await;
    insta::assert_snapshot!("event_then", then);
    assert_eq!(run(&["--then"]).await, then);
    insta::assert_snapshot!("event_now", run(&["--now"]).await);
    let exempting = "policies: [{ name: all-speak, match: {}, effect: exempt, reason: x }]";
    let files = folder(&[("p.yaml", exempting)]);
    let of_files = run(&["--file", path(&files)]).await;
    assert!(
        of_files.contains("left alone: no mute applies"),
        "{of_files}"
    );
    assert!(of_files.contains("cancels no mute"), "{of_files}");
    assert!(
        of_files.contains("by the policies in the files"),
        "{of_files}"
    );
    assert!(!of_files.contains("webinar-mics  "), "{of_files}");
    let json = policy(Some(&app), &["explain", "--event", &id, "--format", "json"]).await;
    let (_, json) = json.split_once('\n').unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["recorded"]["same_as_recorded"], true);
    let missing = policy(Some(&app), &["explain", "--event", "EV_none"]).await;
    assert!(
        missing.starts_with("1\nerror: there is no event"),
        "{missing}"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_live_room_is_explained_by_the_operators_right() {
    let app = Setup::default().start_without_webhooks().await;
    app.apply(WEBINAR).await;
    app.room("quiet-1", "acme");
    app.publish("quiet-1", Join::new("ann"), Publish::microphone());
    app.simulator
        .publish("quiet-1", "ann", Publish::microphone())
        .unwrap();
    let run = async |with_database: bool, arguments: &[&str]| {
        let arguments = [&["explain", "--room"], arguments].concat();
        let mut command = policy_command(with_database.then_some(&app), &arguments);
        let livekit = app.config.livekit.as_ref().unwrap();
        command
            .env("LIVEKIT_URL", livekit.url.as_str())
            .env("LIVEKIT_API_KEY", &livekit.api_key.key)
            .env("LIVEKIT_API_SECRET", livekit.api_key.secret.expose_secret());
        printed(command).await
    };
    let both = run(true, &["quiet-1", "--identity", "ann"]).await;
    insta::assert_snapshot!("live", steady(&both));
    let files = folder(&[("p.yaml", WEBINAR)]);
    let of_files = ["quiet-1", "--identity", "ann", "--file", path(&files)];
    let of_files = run(false, &of_files).await;
    assert!(of_files.contains("muted by acme/quiet-rooms"), "{of_files}");
    let nobody = run(true, &["quiet-1", "--identity", "bob"]).await;
    let error = "1\nerror: no such room, participant or track\n";
    assert_eq!(nobody, error);
    let unset = policy(Some(&app), &["explain", "--room", "r", "--identity", "p"]).await;
    assert!(
        unset.contains("LiveKit is not configured: set LIVEKIT_URL"),
        "{unset}"
    );
    assert!(app.mute_calls().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let files = folder(&[
        ("p.yaml", WEBINAR),
        ("bad.json", "{"),
        ("rom.json", r#"{"rom": {}}"#),
        ("long.json", &" ".repeat((1 << 20) + 1)),
        ("then.json", r#"{"facts": {}, "policies": "then"}"#),
        ("live.json", r#"{"facts": {}, "room": "r"}"#),
        ("at.json", r#"{"facts": {}, "at": "2026-03-02T22:30:00"}"#),
        ("number.json", r#"{"facts": {}, "at": 1}"#),
        ("twice.json", r#"{"room": {}, "room": {}}"#),
    ]);
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let [bad, rom, long] = ["bad.json", "rom.json", "long.json"].map(file);
    let [then, live, twice] = ["then.json", "live.json", "twice.json"].map(file);
    let [at, number, policies] = ["at.json", "number.json", "p.yaml"].map(file);
    for (arguments, says) in [
        (
            &[][..],
            "the following required arguments were not provided",
        ),
        (&["--event", "EV", "--facts", &bad], "cannot be used with"),
        (&["--event", "EV", "--room", "r"], "cannot be used with"),
        (&["--event", "EV", "--identity", "p"], "cannot be used with"),
        (&["--room", "r"], "--identity"),
        (&["--identity", "p"], "--room"),
        (&["--facts", &rom, "--then"], "cannot be used with"),
        (
            &["--room", "r", "--identity", "p", "--now"],
            "cannot be used with",
        ),
        (&["--event", "EV", "--then", "--now"], "cannot be used with"),
        (
            &["--event", "EV", "--now", "--file", "x"],
            "cannot be used with",
        ),
        (
            &["--event", "EV", "--at", "today"],
            "write it with its offset",
        ),
        (
            &["--facts", "/nowhere", "--file", &policies],
            "/nowhere cannot be read",
        ),
        (&["--facts", &bad, "--file", &policies], "is not JSON"),
        (
            &["--facts", &then, "--file", &policies],
            "`policies` is no part of such a file: leave it out",
        ),
        (
            &["--facts", &live, "--file", &policies],
            "`room` is no part of such a file: beside `facts` it may have `at`",
        ),
        (
            &["--facts", &at, "--file", &policies],
            "write it with its offset",
        ),
        (
            &["--facts", &number, "--file", &policies],
            "`at` is no time: write it with its offset",
        ),
        (
            &["--facts", &twice, "--file", &policies],
            "twice.json has a key twice: room",
        ),
        (
            &["--facts", &rom, "--file", &policies],
            "did you mean room?",
        ),
        (&["--facts", &long, "--file", &policies], "is longer than"),
        (
            &["--facts", &rom, "--file", "/nowhere"],
            "/nowhere cannot be read",
        ),
    ] {
        let arguments = [&["explain"], arguments].concat();
        let printed = policy(None, &arguments).await;
        assert!(!printed.starts_with("0\n"), "{arguments:?}: {printed}");
        assert!(printed.contains(says), "{arguments:?}: {printed}");
    }
}
