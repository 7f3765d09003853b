//! Whose turn it is on one source of one participant, in this process: people first, then as they came. No
//! statement is needed to wait. (Between replicas the lease in the database decides.)

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// What actions run one at a time on: a source of a participant, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TrackKey {
    pub(crate) room_sid: String,
    pub(crate) identity: String,
    pub(crate) source: String,
}

#[derive(Debug, Default)]
struct Waiters {
    people: VecDeque<oneshot::Sender<Guard>>,
    policies: VecDeque<oneshot::Sender<Guard>>,
}

/// The sources on which something is done now; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Locks(Arc<Mutex<HashMap<TrackKey, Waiters>>>);

/// A source that nobody else in this process acts on, until this is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    locks: Locks,
    key: TrackKey,
}

impl Locks {
    /// Waits for its turn.
    pub(super) async fn lock(&self, key: TrackKey, is_person: bool) -> Guard {
        loop {
            let waiting = {
                let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(waiters) = held.get_mut(&key) {
                    let (turn, waiting) = oneshot::channel();
                    if is_person {
                        waiters.people.push_back(turn);
                    } else {
                        waiters.policies.push_back(turn);
                    }
                    waiting
                } else {
                    held.insert(key.clone(), Waiters::default());
                    return self.guard(key);
                }
            };
            // It is always handed on; else the source is free by now.
            if let Ok(guard) = waiting.await {
                return guard;
            }
        }
    }

    fn guard(&self, key: TrackKey) -> Guard {
        Guard {
            locks: self.clone(),
            key,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let next = {
            let mut held = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(waiters) = held.get_mut(&self.key) else {
                return;
            };
            let next = waiters.people.pop_front();
            let next = next.or_else(|| waiters.policies.pop_front());
            if next.is_none() {
                held.remove(&self.key);
            }
            next
        };
        if let Some(next) = next {
            // One who is gone gives it back, and so hands it on.
            drop(next.send(self.locks.guard(self.key.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn key(identity: &str) -> TrackKey {
        TrackKey {
            room_sid: "RM".to_owned(),
            identity: identity.to_owned(),
            source: "MICROPHONE".to_owned(),
        }
    }

    #[tokio::test]
    async fn one_at_a_time_people_first_and_who_is_gone_holds_nobody_up() {
        let locks = Locks::default();
        let first = locks.lock(key("ann"), false).await;
        assert!(locks.lock(key("ben"), false).now_or_never().is_some());
        let mut policy = Box::pin(locks.lock(key("ann"), false));
        let mut gone = Box::pin(locks.lock(key("ann"), true));
        let mut person = Box::pin(locks.lock(key("ann"), true));
        assert!(policy.as_mut().now_or_never().is_none());
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(person.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!(policy.as_mut().now_or_never().is_none());
        let held = person.as_mut().now_or_never().unwrap();
        drop(held);
        drop(policy.now_or_never().unwrap());
        assert!(locks.0.lock().unwrap().is_empty());
    }
}
