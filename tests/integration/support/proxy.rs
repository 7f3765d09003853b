//! Between a quell and its Postgres: answers can be lost on the way.

use std::sync::{Arc, Mutex};

use quell::config::Config;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::task::TaskTracker;
use url::Url;

/// A proxy that forwards all, until it is told to lose an answer.
pub(crate) struct Proxy(Arc<Mutex<Option<&'static str>>>);

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
        let loses = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&loses);
        let tracker = TaskTracker::new();
        let all = tracker.clone();
        tracker.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                all.spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self(loses)
    }

    /// The answer to the next statement that says `text` is lost, with its connection.
    pub(crate) fn lose_answer_to(&self, text: &'static str) {
        *self.0.lock().unwrap() = Some(text);
    }

    /// Whether that has happened.
    pub(crate) fn has_lost_it(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }
}

async fn forward(client: TcpStream, server: UnixStream, loses: Arc<Mutex<Option<&'static str>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers =
        TaskTracker::new().spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        let sent = &buffer[..read];
        let is_it = |text: &mut &str| sent.windows(text.len()).any(|part| part == text.as_bytes());
        let lost = loses.lock().unwrap().take_if(is_it);
        if lost.is_some() {
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
