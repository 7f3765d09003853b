//! `quell serve` on the machine's own Postgres: what happens when that ends, whoever ended it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use livekit_double::{Join, Publish, Simulator, SimulatorConfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use quell::config::Config;
use quell::postgres::LocalPostgres;
use reqwest::Client;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection, query_scalar};
use tempfile::TempDir;
use url::Url;

use crate::support::{ACME, BOUND, Program, open_tempdir, read_until};

/// From the end of a Postgres, or of what kept the next one from starting. Its recovery, which
/// reads and syncs as long as the disk takes, comes on top.
const STARTED_WITHIN: Duration = Duration::from_secs(5);

const NO_MICROPHONES: &str = "policies:
  - name: no-microphones
    description: Nobody speaks
    match: { source: [MICROPHONE] }
    effect: mute
";

/// A data folder, and a LiveKit for whoever serves on it.
struct Ground {
    folder: TempDir,
    livekit: Simulator,
    http: Client,
}

struct Serve {
    program: Program,
    url: String,
}

impl Ground {
    async fn new() -> Self {
        quell::install_crypto();
        Self {
            folder: open_tempdir(),
            livekit: Simulator::start(SimulatorConfig::default()).await.unwrap(),
            http: Client::new(),
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let key = self.livekit.api_key().unwrap();
        let data = self.folder.path().join("pg").display().to_string();
        vec![
            ("PORT", "0".to_owned()),
            ("QUELL_PG_DATA", data),
            ("LIVEKIT_URL", self.livekit.url()),
            ("LIVEKIT_API_KEY", key.key.clone()),
            ("LIVEKIT_API_SECRET", key.secret.expose_secret().to_owned()),
            (
                "AUTH_API_SECRETS_JSON",
                json!([{"id": "acme", "secret": ACME}]).to_string(),
            ),
            ("NO_COLOR", "1".to_owned()),
        ]
    }

    fn start(&self, arguments: &[&str]) -> Program {
        Program::start(arguments, &self.settings())
    }

    async fn serve(&self) -> Serve {
        let mut program = self.start(&["serve"]);
        let log = read_until(&mut program.err, "quell is listening").await;
        let (_, address) = log.rsplit_once("address=").unwrap();
        let address = address.split_whitespace().next().unwrap();
        let url = format!("http://{address}");
        Serve { program, url }
    }

    async fn is_ready(&self, serve: &Serve) -> bool {
        let asked = self.http.get(format!("{}/readyz", serve.url)).send();
        asked.await.is_ok_and(|answer| answer.status() == 200)
    }

    async fn wait_ready(&self, serve: &Serve, what: &str) {
        let ready = async || self.is_ready(serve).await;
        wait_for(what, BOUND, ready).await;
    }

    /// Ends the Postgres of `serve` by `signal`, and waits for the next one; what was logged.
    async fn end_postgres(&self, serve: &mut Serve, signal: Signal) -> String {
        let before = serve.program.postgres().unwrap();
        kill(before, signal).unwrap();
        // Its own writing at the end takes as long as the disk does.
        wait_for("its end", BOUND, async || !is_alive(before)).await;
        let another = async || serve.program.postgres().is_some_and(|pid| pid != before);
        wait_for("the next one", STARTED_WITHIN, another).await;
        let log = read_until(&mut serve.program.err, "own Postgres was started again").await;
        self.wait_ready(serve, "ready again").await;
        log
    }
}

async fn wait_for(what: &str, within: Duration, condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < within, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

#[tokio::test]
async fn a_postgres_that_ends_is_started_again_and_everything_goes_on() {
    let ground = Ground::new().await;
    let mut serve = ground.serve().await;
    let webhook = Url::parse(&format!("{}/livekit/webhook", serve.url)).unwrap();
    ground.livekit.set_webhook_url(Some(webhook));

    for (signal, how) in [
        (Signal::SIGKILL, "signal: 9 (SIGKILL)"),
        (Signal::SIGINT, "exit status: 0"),
        (Signal::SIGQUIT, "exit status: "),
    ] {
        let log = ground.end_postgres(&mut serve, signal).await;
        let ended = log
            .lines()
            .filter(|line| line.contains("own Postgres ended"));
        let ended = ended.collect::<Vec<_>>();
        assert!(ended.len() == 1 && ended[0].contains(how), "{log}");
    }
    // Another program stores a policy by the new one; the listener, the inbox, the worker and the
    // audit all need the database for what follows.
    let file = ground.folder.path().join("policy.yaml");
    std::fs::write(&file, NO_MICROPHONES).unwrap();
    let mut apply = ground.start(&["policy", "apply", file.to_str().unwrap()]);
    let (code, out, err) = apply.end().await;
    assert_eq!(code, 0, "{out}{err}");
    let metrics = format!("{}/metrics", serve.url);
    let in_force = async || {
        let text = ground.http.get(&metrics).send().await.unwrap().text().await;
        text.unwrap().lines().any(|line| line == "quell_policies 1")
    };
    wait_for("the policy is in force", BOUND, in_force).await;
    ground.livekit.join("room", Join::new("ben"));
    let track = ground.livekit.publish("room", "ben", Publish::microphone());
    let sid = track.unwrap().sid;
    let muted = async || {
        let track = ground.livekit.track("room", "ben", &sid);
        track.is_some_and(|track| track.muted)
    };
    wait_for("the microphone is muted", BOUND, muted).await;

    serve.program.signal(Signal::SIGTERM);
    let (code, _, err) = serve.program.end().await;
    assert_eq!(code, 0, "{err}");
    assert!(serve.program.postgres().is_none(), "its Postgres is left");
}

#[tokio::test]
async fn the_second_takes_over_when_the_first_ends() {
    let ground = Ground::new().await;
    let mut first = ground.serve().await;
    let mut second = ground.serve().await;
    let before = first.program.postgres().unwrap();
    first.program.signal(Signal::SIGTERM);
    assert_eq!(first.program.end().await.0, 0);
    let ended = Instant::now();
    // What was committed a second ago still counts as ready.
    let taken_over = async || second.program.postgres().is_some_and(|pid| pid != before);
    wait_for("the second starts its own", BOUND, taken_over).await;
    ground.wait_ready(&second, "the second is ready").await;
    assert!(ended.elapsed() < STARTED_WITHIN, "{:?}", ended.elapsed());

    // A guest that ends disturbs nobody.
    let (code, out, err) = ground.start(&["policy", "list"]).end().await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(ground.is_ready(&second).await);

    // One that was killed leaves its Postgres behind, which is used on, and left alone.
    let mut third = ground.serve().await;
    let orphan = second.program.postgres().unwrap();
    second.program.kill().await;
    ground.wait_ready(&third, "the third is ready").await;
    third.program.signal(Signal::SIGTERM);
    let (code, _, err) = third.program.end().await;
    assert_eq!(code, 0, "{err}");
    assert!(is_alive(orphan), "{err}");
    let mut fourth = ground.serve().await;
    assert_eq!(fourth.program.postgres(), Some(orphan));
    kill(orphan, Signal::SIGINT).unwrap();
    let taken_over = async || fourth.program.postgres().is_some_and(|pid| pid != orphan);
    wait_for("the fourth starts its own", BOUND, taken_over).await;
    ground.wait_ready(&fourth, "the fourth is ready").await;
    fourth.program.signal(Signal::SIGTERM);
    assert_eq!(fourth.program.end().await.0, 0);
    assert!(fourth.program.postgres().is_none(), "its Postgres is left");
}

#[tokio::test]
async fn short_commands_and_a_server_start_on_one_folder_in_any_order() {
    let ground = Ground::new().await;
    for _ in 0..3 {
        let short: [&[&str]; 3] = [&["policy", "list"], &["migrate"], &["doctor"]];
        let mut short = short.map(|arguments| ground.start(arguments));
        let mut serve = ground.serve().await;
        for program in &mut short {
            let (_, out, err) = program.end().await;
            assert!(!err.contains("did not start"), "{out}{err}");
        }
        ground
            .wait_ready(&serve, "ready beside short commands")
            .await;
        serve.program.signal(Signal::SIGTERM);
        let (code, _, err) = serve.program.end().await;
        assert_eq!(code, 0, "{err}");
        assert!(serve.program.postgres().is_none(), "its Postgres is left");
    }
}

#[tokio::test]
async fn a_server_that_is_about_to_start_when_another_stops_its_postgres_starts() {
    let ground = Ground::new().await;
    let (code, _, err) = ground.start(&["migrate"]).end().await;
    assert_eq!(code, 0, "{err}");
    let settings = ground.settings();
    let environment = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let environment = environment.collect();
    let mut config = Config::from_environment(&environment).unwrap().database;
    config.search_path = vec!["/usr/local/bin".into(), "/usr/bin".into()];
    let first = LocalPostgres::start(&config).await.unwrap();
    let mut owner = PgConnection::connect_with(&first.owner).await.unwrap();
    owner
        .execute("begin; lock table policy, policy_revision in access exclusive mode")
        .await
        .unwrap();

    let mut program = ground.start(&["serve"]);
    let begun = Instant::now();
    let waiting = "select count(*) from pg_locks where not granted";
    while query_scalar::<_, i64>(waiting)
        .fetch_one(&mut owner)
        .await
        .unwrap()
        == 0
    {
        assert!(
            begun.elapsed() < BOUND,
            "the server never read the policies"
        );
    }
    first.stop().await;
    read_until(&mut program.err, "quell is listening").await;
    program.signal(Signal::SIGTERM);
    let (code, _, err) = program.end().await;
    assert_eq!(code, 0, "{err}");
}

#[tokio::test]
async fn a_postgres_that_does_not_stay_up_ends_the_server() {
    let ground = Ground::new().await;
    let mut serve = ground.serve().await;
    for _ in 0..5 {
        ground.end_postgres(&mut serve, Signal::SIGKILL).await;
    }
    kill(serve.program.postgres().unwrap(), Signal::SIGKILL).unwrap();
    let (code, _, err) = serve.program.end().await;
    assert_eq!(code, 1, "{err}");
    let (_, error) = err.split_once("\nerror: ").unwrap();
    assert!(
        error.contains("ended 6 times within 60 s, and is"),
        "{error}"
    );
    assert!(error.contains("signal: 9 (SIGKILL)"), "{error}");
}

#[tokio::test]
async fn a_postgres_that_cannot_be_looked_at_is_not_taken_for_one_that_ended() {
    let ground = Ground::new().await;
    let mut first = ground.serve().await;
    let mut guest = ground.serve().await;
    let postgres = first.program.postgres().unwrap();
    // No file can be opened, and none that is open is lost.
    let kept = guest.program.files_max("1");
    let log = read_until(
        &mut guest.program.err,
        "cannot tell whether Postgres still runs",
    )
    .await;
    assert!(log.contains("Too many open files"), "{log}");
    guest.program.files_max(&kept);
    ground.wait_ready(&guest, "ready again").await;

    // The same, and it has ended: what is in the way of a start is told, and does not count as one.
    guest.program.files_max("1");
    first.program.kill().await;
    kill(postgres, Signal::SIGKILL).unwrap();
    let log = read_until(&mut guest.program.err, "it cannot be started again").await;
    assert!(log.contains("own Postgres ended"), "{log}");
    assert!(log.contains("Too many open files"), "{log}");
    guest.program.files_max(&kept);
    read_until(&mut guest.program.err, "own Postgres was started again").await;
    ground.wait_ready(&guest, "ready by its own").await;
    guest.program.signal(Signal::SIGTERM);
    let (code, _, err) = guest.program.end().await;
    assert_eq!(code, 0, "{err}");
}

#[tokio::test]
async fn a_server_is_told_to_stop_while_its_postgres_is_away() {
    let ground = Ground::new().await;
    let mut serve = ground.serve().await;
    kill(serve.program.postgres().unwrap(), Signal::SIGKILL).unwrap();
    serve.program.signal(Signal::SIGTERM);
    let (code, _, err) = serve.program.end().await;
    assert_eq!(code, 0, "{err}");
    let left = serve.program.postgres().filter(|pid| is_alive(*pid));
    assert_eq!(left, None, "its Postgres is left");
}

/// Programs that were given `folder`, or a folder in it.
fn programs_on(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}

#[tokio::test]
async fn a_command_that_is_told_to_stop_while_its_postgres_starts_leaves_nothing_behind() {
    let ground = Ground::new().await;
    let data = ground.folder.path().join("pg");
    let digest = hex::encode(Sha256::digest(data.as_os_str().as_encoded_bytes()));
    let socket = PathBuf::from(format!("/tmp/quell-pg-{}", &digest[..12]));
    let check = async |arguments: &[&str], begun: &Path, code: i32| {
        let mut program = ground.start(arguments);
        let has_begun = async || begun.exists();
        wait_for("it has begun", BOUND, has_begun).await;
        program.signal(Signal::SIGTERM);
        let told = Instant::now();
        let (got, out, err) = program.end().await;
        assert_eq!(got, code, "{arguments:?}, {begun:?}: {out}{err}");
        assert!(
            told.elapsed() < Duration::from_secs(8),
            "{:?}",
            told.elapsed()
        );
        assert!(!socket.exists(), "{arguments:?}, {begun:?}: {out}{err}");
        // What initdb had started is killed with it, and not waited for.
        let none = async || programs_on(&data).is_empty();
        wait_for("nothing runs", Duration::from_secs(1), none).await;
    };
    let note = data.join("postmaster.pid");
    let listening = socket.join(".s.PGSQL.5432");
    for (arguments, code) in [
        (["serve"].as_slice(), 0),
        (&["migrate"], 1),
        (&["policy", "list"], 1),
        (&["demo"], 0),
    ] {
        let begun = data.join("quell-initdb-unfinished/base");
        check(arguments, &begun, code).await;
        std::fs::remove_dir_all(&data).unwrap();
    }
    // It comes up for the first time, to be migrated; and then on data that is there.
    check(&["serve"], &note, 0).await;
    check(&["serve"], &listening, 0).await;
    let (code, _, err) = ground.start(&["migrate"]).end().await;
    assert_eq!(code, 0, "{err}");
    check(&["serve"], &socket, 0).await;
    check(&["serve"], &note, 0).await;
    check(&["demo"], &listening, 0).await;

    // It recovers, for as long as an archive keeps it waiting.
    let settings = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    let begun = ground.folder.path().join("begun");
    let command = format!("touch {}; sleep 600", begun.display());
    std::fs::write(&settings, format!("{text}restore_command = '{command}'\n")).unwrap();
    std::fs::write(data.join("recovery.signal"), "").unwrap();
    std::fs::set_permissions(ground.folder.path(), Permissions::from_mode(0o777)).unwrap();
    check(&["serve"], &begun, 0).await;
}
