//! What is tried.

use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, timeout};

use crate::Run;
use crate::livekit::{ALLOWED, FORBIDDEN, LiveKit, between, gone_track};
use crate::spread::{Report, Spread};
use crate::wire::{self, Answer, Connection, Due, Request};

/// How long mutes are waited for that did not come yet.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the first event: connections are opened, and the clock of the events begins.
const LEAD: Duration = Duration::from_millis(500);
/// The events a second of one who publishes again and again, and of the others together.
const FLOOD_RATE: u32 = 200;
const OTHERS_RATE: u32 = 20;
/// Events that one client can have answered in a second, at most.
const ANSWERS_MAX: usize = 4_000;

/// A microphone that is to be muted, and when its event is due.
struct Microphone {
    sid: String,
    after: Duration,
}

fn pace(number: usize, rate: u32) -> Duration {
    Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate
}

fn number_of(run: &Run) -> usize {
    usize::try_from(u64::from(run.rate) * u64::from(run.seconds)).unwrap_or(usize::MAX)
}

fn report(answers: &[Answer], seconds: f64) -> Report {
    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    Report {
        accepted,
        refused: answers.len() - accepted,
        seconds,
        answered: Some(Spread::of(answers.iter().map(|answer| answer.took))),
        ..Report::default()
    }
}

/// When each was muted, after its event was due; and how many were not.
fn mutes(
    livekit: &LiveKit,
    begin: chrono::DateTime<chrono::Utc>,
    microphones: &[Microphone],
) -> Result<(Spread, usize)> {
    let mut times = Vec::new();
    for microphone in microphones {
        if let Some(at) = livekit.muted_at(&microphone.sid) {
            times.push(between(begin + microphone.after, at)?);
        }
    }
    let missed = microphones.len() - times.len();
    Ok((Spread::of(times), missed))
}

/// Forbidden microphones at a rate, each of a participant of its own.
pub(crate) async fn forbidden(run: &Run) -> Result<Report> {
    let mut livekit = LiveKit::start(run).await?;
    let rooms = livekit.rooms(FORBIDDEN, run.rooms);
    let mut lanes: Vec<Vec<Due>> = rooms.iter().map(|_| Vec::new()).collect();
    let mut microphones = Vec::new();
    for number in 0..number_of(run) {
        let place = number % rooms.len();
        let (Some(room), Some(lane)) = (rooms.get(place), lanes.get_mut(place)) else {
            continue;
        };
        let who = livekit.join(room, &format!("p{number}"));
        let (track, request) = livekit.publish(room, &who)?;
        let after = pace(number, run.rate);
        lane.push(Due { after, request });
        microphones.push(Microphone {
            sid: track.sid,
            after,
        });
    }
    let (begin, since) = (Instant::now() + LEAD, livekit.now() + LEAD);
    let url = run.webhook_url.clone();
    let mut sending = pin!(wire::send_at(&url, lanes, begin));
    let answers = loop {
        if let Ok(answers) = timeout(Duration::from_secs(1), &mut sending).await {
            break answers?;
        }
        livekit.note_muted();
    };
    let report = report(&answers, run.duration().as_secs_f64());
    livekit.wait_muted(report.accepted, PATIENCE).await;
    let (muted, _) = mutes(&livekit, since, &microphones)?;
    Ok(Report {
        missed: report.accepted.saturating_sub(muted.count),
        muted: Some(muted),
        ..report
    })
}

/// Tracks that are gone, then one forbidden microphone: in another room, and in theirs.
pub(crate) async fn gone(run: &Run) -> Result<Report> {
    let mut livekit = LiveKit::start(run).await?;
    let rooms = livekit.rooms(FORBIDDEN, run.rooms);
    let mut lanes: Vec<Vec<Due>> = (0..run.clients).map(|_| Vec::new()).collect();
    let whos: Vec<_> = rooms
        .iter()
        .map(|room| livekit.join(room, "comes-and-goes"))
        .collect();
    for number in 0..run.gone {
        let place = number % rooms.len();
        let (Some(room), Some(who)) = (rooms.get(place), whos.get(place)) else {
            continue;
        };
        let mut who = who.clone();
        who.identity = format!("gone-{number}");
        let request = livekit.track_published(room, &who, gone_track(number))?;
        if let Some(lane) = lanes.get_mut(number % run.clients) {
            lane.push(Due {
                after: Duration::ZERO,
                request,
            });
        }
    }
    let begin = Instant::now();
    let answers = wire::send_at(&run.webhook_url, lanes, begin).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let mut times = Vec::new();
    let elsewhere = livekit.rooms("forbidden-elsewhere", 1);
    for room in elsewhere.iter().chain(rooms.first()) {
        let who = livekit.join(room, "still-here");
        let (track, request) = livekit.publish(room, &who)?;
        let sent = livekit.now();
        Connection::open(&run.webhook_url)
            .await?
            .send(&request)
            .await?;
        let count = times.len() + 1;
        livekit.wait_muted(count, PATIENCE).await;
        if let Some(at) = livekit.muted_at(&track.sid) {
            times.push(between(sent, at)?);
        }
    }
    Ok(Report {
        missed: 2 - times.len(),
        muted: times.first().map(|time| Spread::of([*time])),
        muted_beside: times.get(1).map(|time| Spread::of([*time])),
        ..report(&answers, seconds)
    })
}

/// One participant publishes again and again; others now and then, in its room and elsewhere.
pub(crate) async fn flood(run: &Run) -> Result<Report> {
    let mut livekit = LiveKit::start(run).await?;
    let rooms = livekit.rooms(FORBIDDEN, run.rooms);
    let Some(room_of_flood) = rooms.first() else {
        return Ok(Report::default());
    };
    let flooder = livekit.join(room_of_flood, "flooder");
    let mut flood = Vec::new();
    let total = usize::try_from(FLOOD_RATE * run.seconds)?;
    for number in 0..total {
        let request = if number + 1 < total {
            livekit.track_published(room_of_flood, &flooder, gone_track(number))?
        } else {
            livekit.publish(room_of_flood, &flooder)?.1
        };
        flood.push(Due {
            after: pace(number, FLOOD_RATE),
            request,
        });
    }
    let mut lanes = vec![flood];
    let (mut beside, mut elsewhere) = (Vec::new(), Vec::new());
    for number in 0..usize::try_from(OTHERS_RATE * run.seconds)? {
        let place = if number % 2 == 0 {
            0
        } else {
            number % rooms.len()
        };
        let Some(room) = rooms.get(place) else {
            continue;
        };
        let who = livekit.join(room, &format!("p{number}"));
        let (track, request) = livekit.publish(room, &who)?;
        let after = pace(number, OTHERS_RATE);
        lanes.push(vec![Due { after, request }]);
        let microphone = Microphone {
            sid: track.sid,
            after,
        };
        if place == 0 {
            beside.push(microphone);
        } else {
            elsewhere.push(microphone);
        }
    }
    let (begin, since) = (Instant::now() + LEAD, livekit.now() + LEAD);
    let answers = wire::send_at(&run.webhook_url, lanes, begin).await?;
    livekit
        .wait_muted(beside.len() + elsewhere.len() + 1, PATIENCE)
        .await;
    let (muted, missed) = mutes(&livekit, since, &elsewhere)?;
    let (muted_beside, missed_beside) = mutes(&livekit, since, &beside)?;
    Ok(Report {
        muted: Some(muted),
        muted_beside: Some(muted_beside),
        missed: missed + missed_beside,
        ..report(&answers, run.duration().as_secs_f64())
    })
}

/// As many participant events as are answered.
pub(crate) async fn ingest(run: &Run) -> Result<Report> {
    let mut livekit = LiveKit::start(run).await?;
    let rooms = livekit.rooms(ALLOWED, run.rooms);
    let mut lanes: Vec<Vec<Request>> = (0..run.clients).map(|_| Vec::new()).collect();
    // A client is answered less often where there are many of them.
    let each = ANSWERS_MAX.min(80_000 / run.clients) * usize::try_from(run.seconds)?;
    for (client, lane) in lanes.iter_mut().enumerate() {
        let Some(room) = rooms.get(client % rooms.len()) else {
            continue;
        };
        let who = livekit.join(room, &format!("p{client}"));
        for _ in 0..each {
            lane.push(livekit.participant_joined(room, &who)?);
        }
    }
    let begin = Instant::now();
    let answers = wire::send_until(&run.webhook_url, lanes, begin + run.duration()).await?;
    Ok(report(&answers, begin.elapsed().as_secs_f64()))
}

/// Events at a rate, one in ten of a track that no policy forbids.
pub(crate) async fn answers(run: &Run) -> Result<Report> {
    let mut livekit = LiveKit::start(run).await?;
    livekit.crowd(run.crowded)?;
    let rooms = livekit.rooms(ALLOWED, run.rooms);
    let mut lanes: Vec<Vec<Due>> = rooms.iter().map(|_| Vec::new()).collect();
    let whos: Vec<_> = rooms.iter().map(|room| livekit.join(room, "p")).collect();
    for number in 0..number_of(run) {
        let place = number % rooms.len();
        let (Some(room), Some(who), Some(lane)) =
            (rooms.get(place), whos.get(place), lanes.get_mut(place))
        else {
            continue;
        };
        // Another room's turn each time: the rooms are a multiple of ten.
        let request = if (number + number / rooms.len()) % 10 == 0 {
            livekit.publish(room, who)?.1
        } else {
            livekit.participant_joined(room, who)?
        };
        lane.push(Due {
            after: pace(number, run.rate),
            request,
        });
    }
    let answers = wire::send_at(&run.webhook_url, lanes, Instant::now() + LEAD).await?;
    Ok(report(&answers, run.duration().as_secs_f64()))
}
