//! Accepts connections: bounded in number, so that strangers never take the files that Postgres and
//! LiveKit need, and in the time that each may wait (`connection_io`).
//!
//! Where all are taken, the one that waits the longest for its client makes room: first those that never
//! sent a whole request. So somebody who opens connections and says nothing keeps nobody out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Service;
use super::connection_io::{Progress, Timed, UntilWritten};
use crate::metrics::Metrics;

/// A header, and what hyper reads of a body ahead: of strangers too.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Where no connection can be accepted (no files are left), it is tried again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Where all places are taken and nobody can make room, it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) connections_max: usize,
    /// Of one address; none where it may have all of them.
    pub(crate) per_peer_max: Option<usize>,
}

/// Serves `service` on `listener` until `stop`, and then what is under way; each connection is a task of `tracker`.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Service,
    Connections(open): Connections,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let accepting = async {
        loop {
            let (stream, peer) = accept(&listener).await;
            let Some(place) = open.place(peer.ip()).await else {
                continue;
            };
            let serving = connection(stream, peer, service.clone(), place, stop.clone());
            tracker.spawn(serving);
        }
    };
    stop.run_until_cancelled(pin!(accepting)).await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::error!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    service: Service,
    place: Place,
    stop: CancellationToken,
) {
    // Answers are small, and a webhook's sender waits for its own.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let answer = |mut request: Request| {
        request.extensions_mut().insert(ConnectInfo(peer));
        service.clone().oneshot(request)
    };
    let serving = serve_stream(stream, answer, &place.progress, stop);
    match serving.await {
        Ok(()) => {}
        Err(Closed::Evicted) => place.open.metrics.connection_closed("evicted"),
        Err(Closed::TooSlow) => place.open.metrics.connection_closed("too_slow"),
        Err(Closed::Otherwise(error)) => tracing::debug!(%error, %peer, "a connection ended"),
    }
}

/// Why a connection is closed before its time.
#[derive(Debug)]
enum Closed {
    Evicted,
    TooSlow,
    Otherwise(hyper::Error),
}

async fn serve_stream<F: Future<Output = Result<Response<Body>, Infallible>>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request) -> F,
    progress: &Arc<Progress>,
    stop: CancellationToken,
) -> Result<(), Closed> {
    let answering = service_fn(|request: hyper::Request<Incoming>| {
        progress.serving();
        let mut request = request.map(|body| {
            Body::new(Asked {
                body,
                progress: Arc::clone(progress),
            })
        });
        let written = UntilWritten(Arc::clone(progress));
        request.extensions_mut().insert(written);
        let answering = answer(request);
        let progress = Arc::clone(progress);
        async move {
            let answer = answering.await;
            answer.map(|answer: Response<Body>| answer.map(|body| Answer { body, progress }))
        }
    });
    let io = TokioIo::new(Timed::new(stream, progress));
    let mut serving = pin!(
        http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(io, answering)
    );
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = progress.evicted.cancelled() => return Err(Closed::Evicted),
        () = stop.cancelled() => {
            progress.stop();
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    ended.map_err(|error| {
        if is_timeout(&error) {
            Closed::TooSlow
        } else {
            Closed::Otherwise(error)
        }
    })
}

fn is_timeout(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|error| error.downcast_ref());
    source.is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
}

/// The body of a request.
struct Asked {
    body: Incoming,
    progress: Arc<Progress>,
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() {
            self.progress.awaiting_body();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.progress.has_body();
    }
}

/// The body of an answer; dropped, it is hyper's to write.
struct Answer {
    body: Body,
    progress: Arc<Progress>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.progress.answered();
    }
}

/// The connections of all listeners, which share what there may be; clones are the same.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Open>);

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits, metrics: Metrics) -> Self {
        Self(Arc::new(Open::new(limits, metrics)))
    }
}

/// The connections that are open.
struct Open {
    limits: ConnectionLimits,
    metrics: Metrics,
    places: Mutex<Places>,
    ended: Notify,
}

#[derive(Default)]
struct Places {
    next: u64,
    taken: HashMap<u64, (IpAddr, Arc<Progress>)>,
    of_peers: HashMap<IpAddr, usize>,
}

impl Places {
    fn free(&mut self, id: u64) -> Option<Arc<Progress>> {
        let (peer, progress) = self.taken.remove(&id)?;
        if let Some(count) = self.of_peers.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peers.remove(&peer);
            }
        }
        Some(progress)
    }

    /// The connection that waits for its client and can best be done without.
    fn spare(&self) -> Option<u64> {
        let ranked = self.taken.iter().filter_map(|(id, (_, progress))| {
            let rank = progress.eviction_rank()?;
            Some((rank, *id))
        });
        ranked.min().map(|(_, id)| id)
    }
}

/// One connection's place among those that are open, until it is dropped.
struct Place {
    open: Arc<Open>,
    id: u64,
    progress: Arc<Progress>,
}

impl Open {
    fn new(limits: ConnectionLimits, metrics: Metrics) -> Self {
        Self {
            limits,
            metrics,
            places: Mutex::default(),
            ended: Notify::new(),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection of `peer`, once there is one; none where the peer has all that it may have.
    async fn place(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        loop {
            let ended = self.ended.notified();
            {
                let mut places = self.places();
                let of_peer = places.of_peers.get(&peer).copied().unwrap_or_default();
                let per_peer_max = self.limits.per_peer_max;
                if per_peer_max.is_some_and(|max| of_peer >= max) {
                    self.metrics.connection_closed("peer_limit");
                    return None;
                }
                let is_full = places.taken.len() >= self.limits.connections_max;
                let spare = is_full.then(|| places.spare()).flatten();
                if let Some(evicted) = spare.and_then(|id| places.free(id)) {
                    evicted.evicted.cancel();
                }
                if !is_full || spare.is_some() {
                    let id = places.next;
                    places.next += 1;
                    let progress = Arc::new(Progress::new());
                    places.taken.insert(id, (peer, Arc::clone(&progress)));
                    *places.of_peers.entry(peer).or_default() += 1;
                    self.metrics.connections(places.taken.len());
                    let open = Arc::clone(self);
                    return Some(Place { open, id, progress });
                }
            }
            // One that has its answer by now can make room, and nobody tells of that.
            drop(timeout(LOOK_AGAIN, ended).await);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.open.places();
        places.free(self.id);
        self.open.metrics.connections(places.taken.len());
        drop(places);
        self.open.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
