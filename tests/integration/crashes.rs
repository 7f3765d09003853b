//! A crash at each place on the way from a webhook to a mute: nothing that was acknowledged is lost, and a call is
//! made twice only where the log says that its outcome is not known.

use std::time::Duration;

use livekit_double::{Join, Outcome, Publish, Simulator, SimulatorConfig};
use quell::audit::{Actor, Origin};
use quell::config::Config;
use quell::policy_store::{self, Author};
use quell_policy::Document;
use sqlx::PgPool;
use url::Url;

use crate::support::{BOUND, Program, TestDatabase, read_until, service, settings};

struct Site {
    database: TestDatabase,
    livekit: Simulator,
    pool: PgPool,
    /// Of every quell here: LiveKit sends again to where it had sent.
    port: u16,
}

impl Site {
    async fn new() -> Self {
        quell::install_crypto();
        let database = TestDatabase::create().await;
        let livekit = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let pool = database.pool().await;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/livekit/webhook");
        livekit.set_webhook_url(Some(Url::parse(&url).unwrap()));
        let site = Self {
            database,
            livekit,
            pool,
            port,
        };
        let settings = settings(&site.database, &site.livekit);
        let config = Config::from_environment(&settings.into_iter().collect()).unwrap();
        let yaml = "policies: [{ name: quiet, match: { source: MICROPHONE }, effect: mute }]";
        let document = Document::load([("p.yaml", yaml)])
            .map_err(|e| e.to_string())
            .unwrap()
            .value;
        let author = Author {
            origin: Origin::Cli,
            actor: Actor::CommandLine("cli:test".to_owned()),
            request: None,
        };
        policy_store::apply(&service(&config), &author, &document.policies, None, None)
            .await
            .unwrap();
        site
    }

    /// A quell that LiveKit's webhooks go to.
    async fn serve(&self, fail_point: Option<&str>) -> Program {
        let mut env = settings(&self.database, &self.livekit);
        env.push(("PORT", self.port.to_string()));
        // What is left open is known to be over after this and 5 s.
        env.push(("QUELL_LIVEKIT_TIMEOUT_MS", "300".to_owned()));
        env.push(("QUELL_SWEEP_CRON", "off".to_owned()));
        env.extend(fail_point.map(|point| ("QUELL_FAIL_POINT", point.to_owned())));
        let mut program = Program::start(&["serve"], &env);
        read_until(&mut program.err, "quell is listening").await;
        program
    }

    async fn rows(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }

    async fn wait_until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(
            tokio::time::timeout(BOUND, waiting).await.is_ok(),
            "waited in vain: {what}"
        );
    }
}

/// What is in the log, and how often LiveKit was asked to mute.
async fn after_a_crash_at(point: &str) -> (Vec<String>, usize) {
    let site = Site::new().await;
    let mut crashing = site.serve(Some(point)).await;
    site.livekit
        .create_room("r", Some(r#"{"auth_id": "acme"}"#));
    site.livekit.join("r", Join::new("ann"));
    let track = site
        .livekit
        .publish("r", "ann", Publish::microphone())
        .unwrap();
    crashing.crashes().await;
    let mut next = site.serve(None).await;
    site.livekit.wait_delivered(BOUND).await.unwrap();
    let settled = "select settlement from webhook_event where event = 'track_published' and settlement is not null";
    site.wait_until("the job is over", async || {
        !site.rows(settled).await.is_empty()
    })
    .await;
    let open = "select action_id::text from open_intent";
    site.wait_until("no intent is open", async || {
        site.rows(open).await.is_empty()
    })
    .await;
    assert_eq!(site.rows(settled).await, ["muted"], "{point}");
    assert!(
        site.livekit.track("r", "ann", &track.sid).unwrap().muted,
        "{point}"
    );
    // Everything that was answered 200 is stored.
    let stored = site.rows("select event_id from webhook_event").await;
    let answered = Outcome::Status(200);
    for delivery in site.livekit.deliveries() {
        if delivery.outcome != answered {
            continue;
        }
        assert!(stored.contains(&delivery.event_id), "{point}: {delivery:?}");
    }
    let outcomes = site.rows("select outcome from audit_log where action = 'mute' and phase = 'outcome' order by started_at").await;
    let intents = site
        .rows("select action_id::text from audit_log where action = 'mute' and phase = 'intent'")
        .await;
    assert_eq!(intents.len(), outcomes.len(), "{point}");
    let calls = site.livekit.calls();
    let calls = calls
        .iter()
        .filter(|call| call.method == "MutePublishedTrack")
        .count();
    next.signal(nix::sys::signal::Signal::SIGTERM);
    next.end().await;
    site.livekit.shutdown().await;
    site.pool.close().await;
    site.database.drop().await;
    (outcomes, calls)
}

#[tokio::test]
async fn a_crash_before_the_intent_is_as_if_nothing_had_been() {
    for point in ["verify", "insert", "commit", "ack", "claim"] {
        assert_eq!(
            after_a_crash_at(point).await,
            (vec!["done".to_owned()], 1),
            "{point}"
        );
    }
}

#[tokio::test]
async fn a_crash_after_the_intent_leaves_its_outcome_unknown_and_the_mute_is_made() {
    for (point, calls) in [("intent", 1), ("call", 2)] {
        let expect = ["unknown", "done"].map(str::to_owned).to_vec();
        assert_eq!(after_a_crash_at(point).await, (expect, calls), "{point}");
    }
}

#[tokio::test]
async fn a_crash_after_the_outcome_changes_nothing() {
    assert_eq!(
        after_a_crash_at("outcome").await,
        (vec!["done".to_owned()], 1)
    );
}
