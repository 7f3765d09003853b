//! The keys behind a JWKS URL: fetched when first needed, kept, and fetched again when they are
//! old or a token names a key that is not among them.
//!
//! One fetch at a time, none within 10 s of the last, each bounded in time and size. A fetch that
//! fails leaves the old keys in use: a JWKS host that is down must not lock everyone out.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::{Client, StatusCode};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use super::fetch::{self, ResponseError};
use super::key::{JwksSource, KeyError, VerifyingKey};
use crate::http::problem::chain;
use quell_clock::Clock;

/// How old keys may be before they are fetched again.
pub(super) const KEYS_AGE_SECS_MAX: u64 = 600;
/// The least time between two fetches.
pub(super) const FETCH_INTERVAL_SECS_MIN: u64 = 10;
/// All the time that a fetch may take.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest JWKS.
const JWKS_BYTES_MAX: usize = 256 * 1024;

/// The keys of one URL. Dropping a request that waits for a fetch does not stop the fetch:
/// otherwise whoever hangs up in time could keep everybody from new keys.
pub(super) struct RemoteKeys {
    inner: Arc<JwksInner>,
    fetches: TaskTracker,
}

struct JwksInner {
    url: Url,
    client: Client,
    clock: Clock,
    known: ArcSwap<Known>,
    /// Held while fetching.
    gate: Arc<Mutex<()>>,
}

/// What is known of the URL's keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) keys: Vec<VerifyingKey>,
    /// When the keys were fetched; none before the first success.
    pub(super) fetched_at: Option<i64>,
    tried_at: Option<i64>,
    /// Whether the last fetch failed: then a key that is not there proves nothing.
    pub(super) failed: bool,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Body(#[from] ResponseError),
    #[error(transparent)]
    Jwks(#[from] KeyError),
}

impl RemoteKeys {
    pub(super) fn new(url: Url, timeout: Duration, clock: Clock) -> Result<Self, reqwest::Error> {
        Ok(Self {
            inner: Arc::new(JwksInner {
                url,
                client: fetch::client(timeout)?,
                clock,
                known: ArcSwap::default(),
                gate: Arc::default(),
            }),
            fetches: TaskTracker::new(),
        })
    }

    /// The keys as they were last fetched, if ever.
    pub(super) fn so_far(&self) -> Arc<Known> {
        self.inner.known.load_full()
    }

    /// The keys, fetched first where there are none yet or they are old.
    pub(super) async fn current(&self) -> Arc<Known> {
        let known = self.inner.known.load_full();
        match known.fetched_at {
            Some(at) if self.inner.seconds_since(at) < KEYS_AGE_SECS_MAX => known,
            // Old keys do while someone else fetches new ones.
            Some(_) => match Arc::clone(&self.inner.gate).try_lock_owned() {
                Ok(gate) => self.fetch(gate).await,
                Err(_) => known,
            },
            None => self.fetched().await,
        }
    }

    /// The keys, fetched again unless that was done just now.
    pub(super) async fn fetched(&self) -> Arc<Known> {
        let gate = Arc::clone(&self.inner.gate).lock_owned().await;
        self.fetch(gate).await
    }

    async fn fetch(&self, gate: OwnedMutexGuard<()>) -> Arc<Known> {
        let known = self.inner.known.load_full();
        let just_tried = known
            .tried_at
            .is_some_and(|at| self.inner.seconds_since(at) < FETCH_INTERVAL_SECS_MIN);
        if just_tried {
            return known;
        }
        let fetch = Arc::clone(&self.inner).fetch_and_keep(gate);
        if let Err(error) = self.fetches.spawn(fetch).await {
            tracing::error!(%error, "fetching the JWKS ended early");
        }
        self.inner.known.load_full()
    }
}

impl JwksInner {
    async fn fetch_and_keep(self: Arc<Self>, gate: OwnedMutexGuard<()>) {
        let tried_at = Some(self.clock.unix_seconds());
        let known = match self.get().await {
            Ok(keys) => Known {
                keys,
                fetched_at: tried_at,
                tried_at,
                failed: false,
            },
            Err(error) => {
                tracing::warn!(
                    host = self.url.host_str(),
                    error = %chain(&error),
                    "the JWKS could not be fetched; the keys known so far stay in use"
                );
                Known {
                    tried_at,
                    failed: true,
                    ..Known::clone(&self.known.load())
                }
            }
        };
        self.known.store(Arc::new(known));
        drop(gate);
    }

    async fn get(&self) -> Result<Vec<VerifyingKey>, FetchError> {
        let response = self
            .client
            .get(self.url.clone())
            .send()
            .await
            // The URL may hold a password.
            .map_err(|error| FetchError::Unreachable(error.without_url()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = fetch::body(response, JWKS_BYTES_MAX).await?;
        Ok(VerifyingKey::from_jwks(&body, JwksSource::Url)?)
    }

    /// The distance to `at`: a clock that was set back must not hold keys for ever.
    fn seconds_since(&self, at: i64) -> u64 {
        self.clock.unix_seconds().abs_diff(at)
    }
}

#[cfg(test)]
mod tests;
