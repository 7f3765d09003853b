//! A window opens, and silences somebody who was speaking: no webhook tells of that.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use livekit_double::{Join, Publish};
use serde_json::json;

use super::story::Story;
use crate::audit::{Actor, Origin};
use crate::policy_store::{self, Author, ExpectedRevision, ManagedBy};
use quell_clock::Clock;
use quell_policy::{Owner, Policy};

const ROOM: &str = "evening-class";
const WHO: &str = "mia";
/// It is stored, and its window is shown, before it opens.
const NOTICE: TimeDelta = TimeDelta::seconds(5);
const PATIENCE: Duration = Duration::from_secs(10);

impl Story<'_> {
    /// Somebody speaks; a policy's window opens at the next full minute.
    pub(super) async fn window_opens(&self) -> anyhow::Result<()> {
        let metadata = json!({"auth_id": "acme", "title": "Evening class"}).to_string();
        self.simulator.create_room(ROOM, Some(&metadata));
        self.simulator.join(ROOM, Join::new(WHO));
        let track = self
            .simulator
            .publish(ROOM, WHO, Publish::microphone())?
            .sid;
        let clock = Clock::system();
        let opens = next_minute(clock.now() + NOTICE).context("the calendar has ended")?;
        self.store(opens).await?;
        let wait = (opens - clock.now()).to_std().unwrap_or_default();
        println!(
            "\nA window opens\n\n  {WHO} speaks in {ROOM}. The policy quiet-hours is in force from {} (UTC) on, for 10 minutes.\n  That is in {} s ...",
            opens.format("%H:%M:%S"),
            wait.as_secs()
        );
        self.simulator
            .wait_until(wait + PATIENCE, |simulator| {
                let track = simulator.track(ROOM, WHO, &track);
                track.is_some_and(|track| track.muted)
            })
            .await
            .context("the window opened and nobody was muted: run again with QUELL_LOG=info")?;
        let after = (clock.now() - opens).num_milliseconds();
        println!(
            "  {WHO} is muted {after} ms after it opened: quell swept the rooms that the policy is about."
        );
        Ok(())
    }

    async fn store(&self, opens: DateTime<Utc>) -> anyhow::Result<()> {
        let document = json!({
            "name": "quiet-hours",
            "match": {"room": ["evening-*"], "source": ["MICROPHONE"]},
            "active": [{"cron": opens.format("%-M %-H * * *").to_string(), "duration": "10m", "timezone": "UTC"}],
            "effect": "mute",
        });
        let policy = Policy::from_json(document.to_string().as_bytes(), &Owner::Operator)
            .map_err(|problems| anyhow::anyhow!("{problems}"))?
            .value;
        let author = Author {
            origin: Origin::Cli,
            actor: Actor::CommandLine("cli:demo".into()),
            request: None,
        };
        let expected = ExpectedRevision::Anything;
        policy_store::put(self.pool, &author, &policy, ManagedBy::Apply, expected).await?;
        Ok(())
    }
}

fn next_minute(after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    after
        .duration_trunc(minute)
        .ok()?
        .checked_add_signed(minute)
}
