//! HTTP/1.1 by hand, over connections that stay open: what is measured shares two cores with this.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use livekit_double::SignedWebhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

/// A webhook as bytes.
#[derive(Debug)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    pub(crate) fn of(webhook: &SignedWebhook, url: &Url) -> Self {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/webhook+json\r\n\
             User-Agent: Go-http-client/1.1\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
            url.path(),
            url.authority(),
            webhook.token,
            webhook.body.len(),
        );
        Self([head.as_bytes(), &webhook.body].concat())
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(url: &Url) -> Result<Self> {
        let [address, ..] = *url.socket_addrs(|| None)? else {
            bail!("{url} names no address");
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let buffer = vec![0; 8192];
        Ok(Self { stream, buffer })
    }

    /// Sends a webhook and reads the answer; returns its status.
    pub(crate) async fn send(&mut self, request: &Request) -> Result<u16> {
        self.stream.write_all(&request.0).await?;
        let mut filled = 0;
        loop {
            let free = self.buffer.get_mut(filled..).context("a long answer")?;
            let read = self.stream.read(free).await?;
            ensure!(read > 0, "the connection was closed");
            filled += read;
            let answer = self.buffer.get(..filled).unwrap_or_default();
            if let Some(status) = status(answer)? {
                return Ok(status);
            }
        }
    }
}

/// The status of an answer that is there to its end.
fn status(answer: &[u8]) -> Result<Option<u16>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = answer.split_at(end + 4);
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let length = head.split("content-length:").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
    let status = head.get(9..12).context("no status")?.parse()?;
    Ok((body.len() >= length).then_some(status))
}

/// An event, and when it shall be sent, from the beginning on.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) after: Duration,
    pub(crate) request: Request,
}

/// The connection broke: quell was killed. Nothing more is sent on it.
const NO_ANSWER: u16 = 0;

/// How a webhook was answered, and how long after it was sent, or should have been.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) took: Duration,
    pub(crate) status: u16,
}

/// Sends the events of each lane at their times, one after the other as LiveKit does for a room; lanes side
/// by side.
pub(crate) async fn send_at(
    url: &Url,
    lanes: Vec<Vec<Due>>,
    begin: Instant,
) -> Result<Vec<Answer>> {
    let (answers, mut answered) = mpsc::unbounded_channel();
    let mut sending = JoinSet::new();
    for lane in lanes {
        let mut connection = Connection::open(url).await?;
        let answers = answers.clone();
        sending.spawn(async move {
            for Due { after, request } in lane {
                let due = begin + after;
                // It is late where the answer before it was. Our own timer, of whole milliseconds, does not count.
                let from = if Instant::now() > due {
                    due
                } else {
                    tokio::time::sleep_until(due).await;
                    Instant::now()
                };
                let answer = connection.send(&request).await;
                let took = from.elapsed();
                let status = *answer.as_ref().unwrap_or(&NO_ANSWER);
                answers.send(Answer { took, status })?;
                if status == NO_ANSWER {
                    break;
                }
            }
            anyhow::Ok(())
        });
    }
    drop(answers);
    while let Some(lane) = sending.join_next().await {
        lane??;
    }
    let mut all = Vec::new();
    while let Some(answer) = answered.recv().await {
        all.push(answer);
    }
    Ok(all)
}

/// Sends each lane's events as fast as they are answered, until `end` or until there
/// are no more.
pub(crate) async fn send_until(
    url: &Url,
    lanes: Vec<Vec<Request>>,
    end: Instant,
) -> Result<Vec<Answer>> {
    let mut sending = JoinSet::new();
    for lane in lanes {
        let mut connection = Connection::open(url).await?;
        sending.spawn(async move {
            let mut answers = Vec::new();
            for request in lane {
                let begun = Instant::now();
                if begun >= end {
                    return Ok(answers);
                }
                let status = connection.send(&request).await?;
                let took = begun.elapsed();
                answers.push(Answer { took, status });
            }
            anyhow::Ok(answers)
        });
    }
    let mut all = Vec::new();
    while let Some(lane) = sending.join_next().await {
        all.extend(lane??);
    }
    Ok(all)
}
