//! A stub of another server, on loopback, whose answers a test makes.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A running server; it ends when it is dropped.
pub(crate) struct Stub {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Shared {
    answer: Arc<dyn Fn(&Received) -> Response + Send + Sync>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Stub {
    /// Answers every request with what `answer` makes of it.
    pub(crate) async fn start(
        answer: impl Fn(&Received) -> Response + Send + Sync + 'static,
    ) -> Self {
        let received = Arc::default();
        let shared = Shared {
            answer: Arc::new(answer),
            received: Arc::clone(&received),
        };
        let router = Router::new().fallback(respond).with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Self {
            url,
            received,
            _task: AbortOnDropHandle::new(TaskTracker::new().spawn(serve)),
        }
    }

    /// Everything that came in, oldest first.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn respond(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received {
        path: uri.path().to_owned(),
        headers,
        body,
    };
    shared.received.lock().unwrap().push(received.clone());
    (shared.answer)(&received)
}
