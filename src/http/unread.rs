//! Says `Connection: close` in an answer that is given before the request's body was read to its end.
//!
//! hyper closes such a connection, since the rest of the body precedes the next request, but does
//! not say so: a client that sends its next request there sees it fail. The rest is read and thrown
//! away for a while, because a client that is still sending when the connection is closed may never
//! see its answer (RFC 9112, 9.6).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT, HeaderValue};
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use tokio_util::task::TaskTracker;

const REST_TIMEOUT: Duration = Duration::from_secs(3);
const REST_BYTES_MAX: usize = 16 << 20;

/// A body on its way to a handler, which may leave a part of it.
struct Watched(Arc<Mutex<Left>>);

/// What is left of a body.
struct Left {
    /// None: it was read to its end, broke off, or is thrown away.
    rest: Option<BodyDataStream>,
    has_begun: bool,
    is_whole: bool,
}

impl Watched {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut left = self.left();
        left.has_begun = true;
        let Some(rest) = &mut left.rest else {
            // The reader must not take a part for the whole body.
            let late = || axum::Error::new(io::Error::other("the request was answered already"));
            return Poll::Ready((!left.is_whole).then(|| Err(late())));
        };
        let next = ready!(rest.poll_next_unpin(context));
        if !matches!(next, Some(Ok(_))) {
            left.rest = None;
            left.is_whole = next.is_none();
        }
        Poll::Ready(next)
    }
}

/// Says `Connection: close` where a part of the body was not read.
pub(super) async fn close<F: Future<Output = Response>>(
    tracker: &TaskTracker,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if request.body().is_end_stream() {
        return next(request).await;
    }
    // A client that sent `Expect: 100-continue` sends no body until it is told to.
    let asks_first = request.headers().contains_key(EXPECT);
    let version = request.version();
    let (parts, body) = request.into_parts();
    let left = Arc::new(Mutex::new(Left {
        rest: Some(body.into_data_stream()),
        has_begun: false,
        is_whole: false,
    }));
    let watched = Watched(Arc::clone(&left));
    let request = Request::from_parts(parts, Body::from_stream(watched));
    let mut response = next(request).await;
    let (rest, has_begun) = {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.is_whole {
            return response;
        }
        (left.rest.take(), left.has_begun)
    };
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    // Without this, hyper also says `keep-alive` to a client of HTTP/1.0 that asked for it.
    *response.version_mut() = version;
    if let Some(rest) = rest.filter(|_| has_begun || !asks_first) {
        tracker.spawn(throw_away(rest));
    }
    response
}

async fn throw_away(mut rest: BodyDataStream) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(chunk)) = rest.next().await
            && bytes < REST_BYTES_MAX
        {
            bytes += chunk.len();
        }
    };
    // The connection ends then, whether the body has ended or not.
    tokio::time::timeout(REST_TIMEOUT, reading).await.ok();
}
