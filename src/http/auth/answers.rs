//! Answers of the auth service that are kept for a while, by a digest of the token: for services that judge by
//! the token alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::caller::Id;

const ANSWERS_MAX: usize = 10_000;

/// Whom tokens stand for; refusals are not kept.
pub(super) struct Answers {
    kept_for: Duration,
    by_digest: Mutex<HashMap<[u8; 32], Answer>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// None: a caller without an id.
    pub(super) id: Option<Id>,
    until: Instant,
}

impl Answers {
    pub(super) fn new(kept_for: Duration) -> Self {
        Self {
            kept_for,
            by_digest: Mutex::default(),
        }
    }

    /// Whom the token stands for, where that is known.
    pub(super) fn get(&self, token: &str) -> Option<Answer> {
        let answers = self.by_digest.lock();
        let answers = answers.unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(&digest(token))?;
        (Instant::now() < answer.until).then(|| answer.clone())
    }

    pub(super) fn keep(&self, token: &str, id: Option<Id>) {
        let now = Instant::now();
        let answers = self.by_digest.lock();
        let mut answers = answers.unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, answer| now < answer.until);
        }
        if answers.len() < ANSWERS_MAX {
            let until = now + self.kept_for;
            answers.insert(digest(token), Answer { id, until });
        }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_its_time_and_answers_are_bounded() {
        let answers = Answers::new(Duration::from_secs(30));
        let acme = Some(Id::new("acme").unwrap());
        answers.keep("a token", acme.clone());
        answers.keep("another", None);
        let id = |token| answers.get(token).map(|answer| answer.id);
        assert_eq!(id("a token"), Some(acme));
        assert_eq!(id("another"), Some(None));
        assert_eq!(answers.get("a toke"), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(answers.get("a token"), None);
        for token in 0..ANSWERS_MAX + 5 {
            answers.keep(&token.to_string(), None);
        }
        assert_eq!(answers.by_digest.lock().unwrap().len(), ANSWERS_MAX);
        assert!(answers.get("0").is_some());
    }
}
