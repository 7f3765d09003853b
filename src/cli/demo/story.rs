//! A webinar, told while it happens: who publishes what, who is muted, and by which policy.

use std::time::Duration;

use anyhow::{Context, bail};
use livekit_protocol::TrackSource;
use livekit_protocol::participant_info::Kind;
use serde_json::json;

use super::{ACME_SECRET, GLOBEX_SECRET};
use crate::postgres::Pool;
use livekit_double::{Join, Publish, Simulator};
use quell_policy::{Decision, Verdict};

const ROOM: &str = "webinar-allhands";
const PATIENCE: Duration = Duration::from_secs(30);

/// What the story is told with.
pub(super) struct Story<'a> {
    pub(super) simulator: &'a Simulator,
    pub(super) pool: &'a Pool,
    pub(super) url: &'a str,
}

/// A track that the story leaves muted.
pub(super) struct Muted {
    pub(super) room: String,
    pub(super) identity: String,
    pub(super) sid: String,
}

struct Scene {
    who: &'static str,
    join: Join,
    what: &'static str,
    publish: Publish,
}

impl Story<'_> {
    pub(super) async fn tell(&self) -> anyhow::Result<Muted> {
        let metadata = json!({"auth_id": "acme", "title": "All hands"}).to_string();
        let room = self.simulator.create_room(ROOM, Some(&metadata));
        println!(
            "\nThe room {ROOM} belongs to the tenant acme. The policies in policies/ are in force.\n"
        );
        println!(
            "{:<30} {:<24} {:<7} {:>8}  WHY",
            "WHO", "PUBLISHES", "NOW", "AFTER"
        );
        let mut muted = Vec::new();
        for scene in scenes() {
            muted.extend(self.play(scene).await?);
        }
        let mut muted = muted.into_iter();
        let (Some(first), Some(second)) = (muted.next(), muted.next()) else {
            bail!("nobody was muted: the policies are not in force");
        };
        println!(
            "\nA moderator lets {} speak after all, and somebody from outside tries to mute it:\n",
            first.identity
        );
        self.ask("acme's moderator unmutes", ACME_SECRET, &first, false)
            .await?;
        self.ask("globex's moderator mutes", GLOBEX_SECRET, &first, true)
            .await?;
        self.print_audit(&room.sid).await?;
        Ok(second)
    }

    /// Somebody joins and publishes; waits for what the policies make of it, and prints it.
    async fn play(&self, scene: Scene) -> anyhow::Result<Option<Muted>> {
        let identity = scene.join.identity.clone();
        let begun = tokio::time::Instant::now();
        self.simulator.join(ROOM, scene.join);
        let track = self.simulator.publish(ROOM, &identity, scene.publish)?;
        let (settlement, decision) = self.settled(&track.sid).await?;
        let after = begun.elapsed();
        let is_muted = self
            .simulator
            .track(ROOM, &identity, &track.sid)
            .is_some_and(|track| track.muted);
        println!(
            "{:<30} {:<24} {:<7} {:>5} ms  {}",
            scene.who,
            scene.what,
            if is_muted { "muted" } else { "heard" },
            after.as_millis(),
            why(&settlement, decision.as_ref()),
        );
        Ok(is_muted.then(|| Muted {
            room: ROOM.to_owned(),
            identity,
            sid: track.sid,
        }))
    }

    async fn settled(&self, track_sid: &str) -> anyhow::Result<(String, Option<Decision>)> {
        let settled = async {
            loop {
                let row = sqlx::query!(
                    r#"select settlement as "settlement!", decision from webhook_event
                       where track_sid = $1 and event = 'track_published' and settlement is not null"#,
                    track_sid,
                )
                .fetch_optional(self.pool)
                .await?;
                if let Some(row) = row {
                    let decision = row.decision.map(serde_json::from_value).transpose()?;
                    return anyhow::Ok((row.settlement, decision));
                }
                // Nothing tells when a job is settled: it is looked for.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled)
            .await
            .context("a track was not dealt with in time: run again with QUELL_LOG=info")?
    }

    async fn ask(&self, who: &str, secret: &str, track: &Muted, muted: bool) -> anyhow::Result<()> {
        let response = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(format!("{}/livekit/participant/mute", self.url))
            .bearer_auth(secret)
            .json(&json!({
                "room_name": track.room,
                "participant_identity": track.identity,
                "track_sid": track.sid,
                "muted": muted,
            }))
            .send()
            .await?;
        let status = response.status();
        println!("  {who:<28} {} {}", status.as_u16(), response.text().await?);
        Ok(())
    }

    async fn print_audit(&self, room_sid: &str) -> anyhow::Result<()> {
        let rows = sqlx::query!(
            r#"select to_char(started_at at time zone 'UTC', 'HH24:MI:SS.MS') as "at!",
                      coalesce(actor, 'policy') as "actor!", action as "action!", outcome as "outcome!",
                      coalesce(identity, '') as "identity!", coalesce(source, '') as "source!",
                      coalesce(policy_name || ' @' || policy_revision, '') as "policy!",
                      coalesce(error, '') as "error!"
               from moderation_history where room_sid = $1 order by started_at, action_id"#,
            room_sid,
        )
        .fetch_all(self.pool)
        .await?;
        println!("\nThe audit: select ... from moderation_history\n");
        println!(
            "{:<13} {:<8} {:<7} {:<8} {:<16} {:<18} POLICY OR ERROR",
            "AT (UTC)", "ACTOR", "ACTION", "OUTCOME", "IDENTITY", "SOURCE"
        );
        for row in rows {
            println!(
                "{:<13} {:<8} {:<7} {:<8} {:<16} {:<18} {}{}",
                row.at,
                row.actor,
                row.action,
                row.outcome,
                row.identity,
                row.source,
                row.policy,
                row.error
            );
        }
        Ok(())
    }
}

fn scenes() -> [Scene; 6] {
    [
        Scene {
            who: "Hanna, the host",
            join: Join::new("host-hanna"),
            what: "her microphone",
            publish: Publish::microphone(),
        },
        Scene {
            who: "Ben, an attendee",
            join: Join::new("ben"),
            what: "his microphone",
            publish: Publish::microphone(),
        },
        Scene {
            who: "Cleo, with her own client",
            join: Join::new("cleo"),
            what: "audio without a source",
            publish: Publish::new(TrackSource::Unknown),
        },
        Scene {
            who: "a caller by phone",
            join: Join::new("sip-4917012345").kind(Kind::Sip),
            what: "a microphone",
            publish: Publish::microphone(),
        },
        Scene {
            who: "the voice agent",
            join: Join::new("agent-7").kind(Kind::Agent),
            what: "its voice",
            publish: Publish::microphone(),
        },
        Scene {
            who: "Dan, an attendee",
            join: Join::new("dan"),
            what: "the sound of his screen",
            publish: Publish::new(TrackSource::ScreenShareAudio),
        },
    ]
}

fn why(settlement: &str, decision: Option<&Decision>) -> String {
    let Some(decision) = decision else {
        return settlement.to_owned();
    };
    if let Verdict::Mute { policy } = &decision.enforced {
        return format!("{} @{} mutes it", policy.name, policy.revision);
    }
    if let Some(exempted) = decision.enforced.exempted() {
        let reason = exempted.reason.as_deref().unwrap_or("no reason given");
        return format!(
            "{} exempts it from {} ({reason})",
            exempted.by.name, exempted.mute.name
        );
    }
    if let Some(policy) = decision.dry_run.mute() {
        return format!("{} would mute it, but is in dry run (dry_run)", policy.name);
    }
    if let Some(policy) = decision.exempted_by_unless() {
        return format!("{} says: unless ...", policy.name);
    }
    "no policy is about it".to_owned()
}
