//! Between a quell and its Postgres: answers can be lost on the way, and statements held up.

use std::sync::{Arc, Mutex};

use quell::config::Config;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use url::Url;

/// A proxy that forwards all, until it is told otherwise.
pub(crate) struct Proxy(Arc<Orders>);

#[derive(Default)]
struct Orders {
    /// What the statement says whose answer is to be lost.
    loses: Mutex<Option<&'static str>>,
    /// What the statement says that is to be held up.
    holds: Mutex<Option<&'static str>>,
    release: Notify,
}

/// Whether `sent` is what `order` is about, which is then done.
fn is_it(order: &Mutex<Option<&'static str>>, sent: &[u8]) -> bool {
    let says = |text: &mut &str| sent.windows(text.len()).any(|part| part == text.as_bytes());
    order.lock().unwrap().take_if(says).is_some()
}

impl Proxy {
    /// Puts a proxy in front of the database of `config`.
    pub(crate) async fn before(config: &mut Config) -> Self {
        let url = config.database.url.as_ref().unwrap();
        let mut url = Url::parse(url.expose_secret()).unwrap();
        let (_, folder) = url.query_pairs().find(|(name, _)| name == "host").unwrap();
        let socket = format!("{folder}/.s.PGSQL.5432");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        url.set_query(None);
        url.set_host(Some("127.0.0.1")).unwrap();
        let port = listener.local_addr().unwrap().port();
        url.set_port(Some(port)).unwrap();
        config.database.url = Some(url.to_string().into());
        let orders = Arc::new(Orders::default());
        let shared = Arc::clone(&orders);
        let tracker = TaskTracker::new();
        let all = tracker.clone();
        tracker.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                all.spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self(orders)
    }

    /// The answer to the next statement that says `text` is lost, with its connection.
    pub(crate) fn lose_answer_to(&self, text: &'static str) {
        *self.0.loses.lock().unwrap() = Some(text);
    }

    /// The next statement that says `text` is held up until it is released.
    pub(crate) fn hold(&self, text: &'static str) {
        *self.0.holds.lock().unwrap() = Some(text);
    }

    /// Whether one is.
    pub(crate) fn holds_it(&self) -> bool {
        self.0.holds.lock().unwrap().is_none()
    }

    pub(crate) fn release(&self) {
        self.0.release.notify_one();
    }

    /// Whether that has happened.
    pub(crate) fn has_lost_it(&self) -> bool {
        self.0.loses.lock().unwrap().is_none()
    }
}

async fn forward(client: TcpStream, server: UnixStream, orders: Arc<Orders>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers =
        TaskTracker::new().spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        let sent = &buffer[..read];
        if is_it(&orders.holds, sent) {
            orders.release.notified().await;
        }
        if is_it(&orders.loses, sent) {
            // Nothing comes back, and then the connection breaks; Postgres has it all the same.
            answers.abort();
            drop(answers.await);
            to_server.write_all(sent).await.unwrap();
            return;
        }
        if to_server.write_all(sent).await.is_err() {
            return;
        }
    }
}
