//! Sweeps, as tests start them and wait for them.

use std::time::Duration;

use livekit_double::{Join, Publish};
use quell::pipeline::Pipeline;
use quell::sweep::{Counts, RoomScope, Sweeper, SweeperParts, Tick, TickCause, Ticks};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Setup, TestApp};

/// Never by the schedule; at start, at edges and for changes all the same.
const RARELY: &str = "0 0 0 1 1 *";

pub(crate) const MICS: &str = "
policies:
  - { name: mics, match: { source: [MICROPHONE] }, effect: mute }
";

pub(crate) fn sweeping() -> Setup {
    Setup::default().env("QUELL_SWEEP_CRON", RARELY)
}

/// One that sweeps only by hand, and a room with ann's microphone of which no webhook told.
pub(crate) async fn by_hand() -> (TestApp, String) {
    let app = TestApp::new().await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    (app, mic.sid)
}

impl TestApp {
    pub(crate) fn ticks(&self) -> Ticks {
        Ticks {
            pool: self.state().pool.clone(),
            replica: "a".to_owned(),
            lease: Duration::from_secs(10),
        }
    }

    /// A sweeper of a process of its own, with these ticks.
    pub(crate) fn sweeper_with(&self, ticks: Ticks) -> Sweeper {
        let state = self.state();
        let runner = state.runner.clone();
        Sweeper::new(SweeperParts {
            pipeline: Pipeline {
                runner,
                rooms: None,
                policies: state.policies.clone(),
                clock: state.clock.clone(),
                metrics: state.metrics.clone(),
                livekit_timeout: state.livekit_timeout,
            },
            reader: state.sweeper.as_ref().unwrap().reader().clone(),
            ticks,
            metrics: state.metrics.clone(),
            stop: CancellationToken::new(),
            tracker: state.tracker.clone(),
        })
    }

    /// Sweeps all rooms in the quell that started last.
    pub(crate) async fn sweep(&self) -> Counts {
        let tick = Tick {
            cause: TickCause::Manual,
            key: Uuid::now_v7().to_string(),
            room_name: None,
        };
        let lease = self.ticks().begin(tick).await.unwrap().unwrap();
        let sweeper = self.states().last().unwrap().sweeper.as_ref().unwrap();
        sweeper.sweep(&lease, RoomScope::All).await.unwrap()
    }

    /// Waits until as many sweeps are finished for this cause.
    pub(crate) async fn swept(&self, cause: &str, count: i64) {
        let finished = format!(
            "select count(*) from sweeps where cause = '{cause}' and finished_at is not null"
        );
        self.wait_for(&format!("{count} sweeps for {cause}"), async || {
            self.count(&finished).await >= count
        })
        .await;
    }

    /// The same by this process, which has gone on by then: the next tick is one after now.
    pub(crate) async fn swept_here(&self, cause: &str, count: u64) {
        let taken = format!("quell_sweep_seconds_count{{cause=\"{cause}\"}}");
        self.wait_for(&format!("{count} sweeps for {cause} here"), async || {
            self.metric(&self.url, &taken).await >= count
        })
        .await;
    }

    pub(crate) async fn until_muted(&self, room: &str, identity: &str, sid: &str) {
        self.wait_for("the track is muted", async || {
            self.is_muted(room, identity, sid)
        })
        .await;
    }

    /// What sweeps did.
    pub(crate) async fn by_sweeps(&self) -> Vec<String> {
        self.lines("origin = 'sweep'").await
    }
}

pub(crate) const BY_MICS: &str = "sweep mute done - acme standup ann MICROPHONE mics@1";
