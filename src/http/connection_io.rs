//! A connection's bytes on their way to and from hyper, which knows one timer for a header and for idle
//! time: here each has its own, and a client that stops reading its answer is cut off.
//!
//! ```text
//! waiting --first byte--> header --request--> serving --answer written--> waiting
//!   120 s                  10 s                (the handlers' own bounds; answers: a least rate)
//! ```
//!
//! A request whose body is waited for makes room for others, as one that has not come whole.

use std::any::Any;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::pace::Pace;

/// The most time from a header's first byte to its last.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most time without a request. LiveKit's client keeps connections for 90 s: it is to be the one that
/// closes them, so that no webhook meets a connection that was closed just then.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// The most time that a header may still take once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// A client that takes an answer reads at least 8 KiB a second, or loses its connection.
const ANSWERS: Pace = Pace {
    grace: Duration::from_secs(10),
    bytes_per_second: 8 << 10,
};

/// A request whose body is still incomplete after this makes room where all connections are taken.
const BODY_STALLED: Duration = Duration::from_secs(1);

/// What a connection is at, shared by its bytes, its requests and whoever has to make room.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
    /// Cancelled where the connection has to make room.
    pub(super) evicted: CancellationToken,
}

struct State {
    phase: Phase,
    /// The requests that were served.
    served: u64,
    is_stopping: bool,
    /// Dropped once what is answered is written.
    until_written: Vec<Box<dyn Any + Send>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("phase", &self.phase)
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}

/// Keeps what a request takes up until its client has the answer; in the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct UntilWritten(pub(super) Arc<Progress>);

impl UntilWritten {
    pub(super) fn keep(&self, taken: impl Send + 'static) {
        self.0.state().until_written.push(Box::new(taken));
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No byte of a request has come.
    Waiting { since: Instant },
    /// A request has begun.
    Header { since: Instant },
    /// A request is answered.
    Serving,
    /// Its body is waited for.
    Body { since: Instant },
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Waiting {
                    since: Instant::now(),
                },
                served: 0,
                is_stopping: false,
                until_written: Vec::new(),
            }),
            evicted: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Waiting { .. }) {
            let since = Instant::now();
            state.phase = Phase::Header { since };
        }
    }

    /// A request has come whole, but for its body.
    pub(super) fn serving(&self) {
        let mut state = self.state();
        state.phase = Phase::Serving;
        state.served += 1;
    }

    /// A part of a request's body has not come yet.
    pub(super) fn awaiting_body(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Serving) {
            let since = Instant::now();
            state.phase = Phase::Body { since };
        }
    }

    /// Nothing more is read of a request's body.
    pub(super) fn has_body(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Body { .. }) {
            state.phase = Phase::Serving;
        }
    }

    /// All that was to be written is.
    fn flushed(&self) {
        let mut state = self.state();
        let written = match state.phase {
            Phase::Waiting { .. } | Phase::Header { .. } => {
                std::mem::take(&mut state.until_written)
            }
            Phase::Serving | Phase::Body { .. } => return,
        };
        drop(state);
        drop(written);
    }

    /// A request has its answer.
    pub(super) fn answered(&self) {
        let since = Instant::now();
        self.state().phase = Phase::Waiting { since };
    }

    /// The server stops: a header that has begun may take no longer than a second.
    pub(super) fn stop(&self) {
        self.state().is_stopping = true;
    }

    /// When it has to be over that a request is waited for, and whether one has begun.
    fn deadline(&self) -> Option<(Instant, bool)> {
        let state = self.state();
        let (since, limit, has_begun) = match state.phase {
            Phase::Serving | Phase::Body { .. } => return None,
            Phase::Waiting { since } => (since, IDLE_TIMEOUT, false),
            Phase::Header { since } => (since, HEADER_TIMEOUT, true),
        };
        let limit = if state.is_stopping {
            limit.min(STOP_TIMEOUT)
        } else {
            limit
        };
        Some((since + limit, has_begun))
    }

    /// How soon it makes room for another, the least first; none while a request is served. One that never
    /// sent a whole request goes before one that did, and that before one whose body is incomplete; of the same,
    /// the one that has waited for longer.
    pub(super) fn eviction_rank(&self) -> Option<(u8, Instant)> {
        let state = self.state();
        match state.phase {
            Phase::Serving => None,
            Phase::Waiting { since } | Phase::Header { since } => {
                Some((u8::from(state.served > 0), since))
            }
            Phase::Body { since } => (since.elapsed() >= BODY_STALLED).then_some((2, since)),
        }
    }
}

/// A stream with the times of its connection.
pub(super) struct Timed<'a, S> {
    stream: S,
    progress: &'a Progress,
    reading: Timer,
    writing: Timer,
    stalled: Option<Stalled>,
}

/// An answer that waits for its client.
struct Stalled {
    /// The request's number on this connection.
    request: u64,
    since: Instant,
    /// What went since.
    written: u64,
}

impl<'a, S> Timed<'a, S> {
    pub(super) fn new(stream: S, progress: &'a Progress) -> Self {
        Self {
            stream,
            progress,
            reading: Timer(None),
            writing: Timer(None),
            stalled: None,
        }
    }

    /// What becomes of a write that may have to wait for the client.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        write: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match write {
            Poll::Ready(Ok(done)) => {
                if let Some(stalled) = &mut self.stalled {
                    stalled.written += u64::try_from(bytes(&done)).unwrap_or(u64::MAX);
                }
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let request = self.progress.state().served;
                let stalled = self.stalled.take().filter(|it| it.request == request);
                let stalled = self.stalled.insert(stalled.unwrap_or_else(|| Stalled {
                    request,
                    since: Instant::now(),
                    written: 0,
                }));
                let deadline = ANSWERS.deadline(stalled.since, stalled.written);
                self.writing.reached(context, deadline)
            }
        }
    }
}

/// A timer that is set anew only where it would go off too late.
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// An error once `deadline` is reached.
    fn reached<T>(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<io::Result<T>> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_ready() {
            if buffer.filled().len() > before {
                this.progress.received();
            }
            return read;
        }
        let Some((deadline, has_begun)) = this.progress.deadline() else {
            return Poll::Pending;
        };
        let timed_out = ready!(this.reading.reached(context, deadline));
        // Nothing is wrong with a connection that nobody needs any more: it ends as if the client had closed it.
        Poll::Ready(if has_begun { timed_out } else { Ok(()) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<'_, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, write, |written| *written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.written(context, write, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        // hyper flushes what it has written to the last byte.
        this.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
