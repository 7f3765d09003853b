//! Whose turn it is.

use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::inbox::job::JobTimes;
use crate::inbox::memory::JOBS_MAX;

fn event(tenant: &str, room: &str, identity: &str, id: usize) -> Event {
    let body = serde_json::json!({
        "id": format!("EV_{id}"), "event": "track_published", "createdAt": "1795357717",
        "room": {"sid": room, "name": room, "metadata": serde_json::json!({"auth_id": tenant}).to_string()},
        "participant": {"sid": format!("PA_{identity}"), "identity": identity},
        "track": {"sid": format!("TR_{id}"), "source": "MICROPHONE"},
    });
    crate::livekit::event::read(body.to_string().as_bytes())
        .unwrap()
        .event
}

fn job(queue: &Queue, event: Event) -> Job {
    let memory = &queue.lock().turns.memory().clone();
    memory.note_tenant(&event.room.sid, event.room.tenant.as_ref());
    let reservation = memory.reserve(&event).unwrap();
    let now = Instant::now();
    let times = JobTimes {
        received_at: DateTime::UNIX_EPOCH,
        arrived: now,
        deadline: now + Duration::from_mins(2),
    };
    Job::new(event, 1, times, reservation)
}

fn add(queue: &Queue, tenant: &str, room: &str, identity: &str, id: usize) {
    queue.push([job(queue, event(tenant, room, identity, id))]);
}

/// Whose jobs come next while each is worked on to its end: `room/identity`.
fn order(queue: &Queue, count: usize) -> Vec<String> {
    let each = (0..count).map_while(|_| {
        let work = queue.next()?;
        let job = work.jobs.first()?;
        Some(format!(
            "{}/{}",
            job.event.room.sid, job.event.participant.identity
        ))
    });
    each.collect()
}

fn is_empty(queue: &Queue) -> bool {
    let state = queue.lock();
    state.sources.is_empty()
        && state.looks.is_empty()
        && state.waiting.is_empty()
        && state.turns.is_idle()
        && state.turns.memory().is_empty()
}

#[tokio::test]
async fn tenants_take_turns_then_rooms_then_sources() {
    let queue = Queue::new(8, Memory::default());
    for id in 0..20 {
        add(&queue, "big", "webinar", &format!("p{id:02}"), id);
    }
    add(&queue, "big", "standup", "ann", 100);
    add(&queue, "small", "call", "ben", 101);
    add(&queue, "small", "call", "cleo", 102);
    assert_eq!(
        order(&queue, 6),
        [
            "webinar/p00",
            "call/ben",
            "standup/ann",
            "call/cleo",
            "webinar/p01",
            "webinar/p02"
        ]
    );
    assert_eq!(order(&queue, 100).len(), 17);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn jobs_of_one_source_run_one_after_the_other_and_are_handed_out_together() {
    let queue = Queue::new(8, Memory::default());
    add(&queue, "acme", "standup", "ann", 1);
    let first = queue.next().unwrap();
    for id in 2..40 {
        add(&queue, "acme", "standup", "ann", id);
    }
    assert!(queue.next().is_none());
    drop(first);
    let ids = |work: &Work| {
        let ids = work.jobs.iter().map(|job| job.event.id.clone());
        ids.collect::<Vec<_>>()
    };
    let second = queue.next().unwrap();
    assert_eq!(
        ids(&second),
        (2..34).map(|id| format!("EV_{id}")).collect::<Vec<_>>()
    );
    drop(second);
    assert_eq!(queue.next().unwrap().jobs.len(), 6);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn who_comes_new_finds_a_place_however_many_others_hold_theirs() {
    let queue = Queue::new(32, Memory::default());
    let mut held = Vec::new();
    // Half of the places for the first tenant, then half of what is left; a quarter for a tenant with one room.
    for (tenant, rooms, places) in [
        ("a", 4, 16),
        ("b", 4, 8),
        ("c", 1, 2),
        ("d", 1, 1),
        ("e", 1, 1),
    ] {
        for id in 0..20 {
            let room = format!("{tenant}-{}", id % rooms);
            add(&queue, tenant, &room, &format!("p{id}"), id);
        }
        let before = held.len();
        while let Some(work) = queue.next() {
            held.push(work);
        }
        assert_eq!(held.len() - before, places, "{tenant}");
    }
    drop(held);
    assert_eq!(order(&queue, 100).len(), 100 - 28);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn what_waits_holds_no_place_and_a_rooms_tracks_are_looked_for_together() {
    let queue = Queue::new(1, Memory::default());
    let now = Instant::now();
    for id in 0..10 {
        let late = job(&queue, event("acme", "standup", &format!("p{id}"), id));
        queue.wait(late, now + Duration::from_secs(1), Wait::NotShown);
    }
    let again = job(&queue, event("acme", "standup", "ann", 10));
    queue.wait(again, now + Duration::from_secs(2), Wait::Retry);
    assert_eq!(queue.next_due(), Some(now + Duration::from_secs(1)));
    queue.wake(now);
    assert!(queue.next().is_none());
    add(&queue, "acme", "standup", "here", 11);
    assert_eq!(order(&queue, 1), ["standup/here"]);
    assert_eq!(queue.depth().0, 11);

    queue.wake(now + Duration::from_secs(1));
    let look = queue.next().unwrap();
    assert_eq!((look.kind, look.jobs.len()), (WorkKind::Look, 10));
    // One at a time: what is due meanwhile goes with the next.
    let late = job(&queue, event("acme", "standup", "late", 12));
    queue.wait(late, now + Duration::from_secs(1), Wait::NotShown);
    queue.wake(now + Duration::from_secs(1));
    assert!(queue.next().is_none());
    drop(look);
    assert_eq!(queue.next().unwrap().jobs.len(), 1);
    queue.wake(now + Duration::from_secs(2));
    assert_eq!(order(&queue, 2), ["standup/ann"]);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn what_is_over_is_dropped_wherever_it_waits() {
    let queue = Queue::new(8, Memory::default());
    let now = Instant::now();
    for id in 0..3 {
        add(&queue, "acme", "standup", &format!("p{id}"), id);
    }
    let late = job(&queue, event("acme", "standup", "late", 3));
    queue.wait(late, now, Wait::NotShown);
    let later = job(&queue, event("acme", "standup", "later", 4));
    queue.wait(later, now + Duration::from_secs(9), Wait::NotShown);
    queue.wake(now);
    let over = ["EV_1", "EV_3", "EV_4"].map(|id| {
        let at = DateTime::from_timestamp(1_795_357_717, 0).unwrap();
        (at, id.to_owned())
    });
    queue.forget(&over.into());
    let left: Vec<_> = std::iter::from_fn(|| queue.next())
        .flat_map(|work| work.jobs)
        .map(|job| job.event.id.clone())
        .collect();
    assert_eq!(left, ["EV_0", "EV_2"]);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn what_was_dropped_leaves_its_source_one_turn_and_no_second() {
    let queue = Queue::new(8, Memory::default());
    let now = Instant::now();
    let at = DateTime::from_timestamp(1_795_357_717, 0).unwrap();
    let forget = |id: &str| queue.forget(&HashSet::from([(at, id.to_owned())]));
    add(&queue, "acme", "standup", "ann", 0);
    forget("EV_0");
    add(&queue, "acme", "standup", "ann", 1);
    let first = queue.next().unwrap();
    assert_eq!(first.jobs.len(), 1);
    assert!(queue.next().is_none());
    drop(first);
    for id in [2, 3] {
        let late = job(&queue, event("acme", "standup", "late", id));
        queue.wait(late, now, Wait::NotShown);
        queue.wake(now);
        if id == 2 {
            forget("EV_2");
        }
    }
    let look = queue.next().unwrap();
    assert_eq!(look.jobs.len(), 1);
    assert!(queue.next().is_none());
    drop(look);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn whoever_waits_is_told_whether_it_is_the_first() {
    let queue = Queue::new(1, Memory::default());
    let now = Instant::now();
    for (id, seconds, is_first) in [(0, 5, true), (1, 6, false), (2, 4, true), (3, 4, false)] {
        let waits = job(&queue, event("acme", "standup", "ann", id));
        let at = now + Duration::from_secs(seconds);
        assert_eq!(queue.wait(waits, at, Wait::Retry), is_first, "{id}");
    }
    queue.clear();
}

#[test]
fn memory_is_shared_out_like_places() {
    let memory = Memory::default();
    let mut held = Vec::new();
    for (tenant, room, most) in [
        ("big", "a", JOBS_MAX / 4),
        ("big", "b", JOBS_MAX / 16 * 3),
        // Half of all for one tenant.
        ("big", "c", JOBS_MAX / 16),
        ("small", "d", JOBS_MAX / 8),
    ] {
        let event = event(tenant, room, "ann", 0);
        memory.note_tenant(room, event.room.tenant.as_ref());
        let reserved: Vec<_> = std::iter::from_fn(|| memory.reserve(&event)).collect();
        assert_eq!(reserved.len(), most, "{room}");
        held.push(reserved);
    }
    // The third of the big tenant too.
    assert_eq!(memory.full_rooms().len(), 4);
    held.clear();
    assert!(memory.is_empty());
}
