use std::sync::Weak;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::http::connection_io::{HEADER_TIMEOUT, IDLE_TIMEOUT};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: quell\r\n\r\n";

struct Served {
    client: DuplexStream,
    task: AbortOnDropHandle<Result<(), Closed>>,
    stop: CancellationToken,
    progress: Arc<Progress>,
    /// What requests take up until their answers are written, and once more.
    kept: Weak<()>,
}

/// A connection to a server that reads the body and answers with `bytes` bytes.
fn served(bytes: usize) -> Served {
    let (client, stream) = duplex(1024);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let progress = Arc::new(Progress::new());
    let (taken, until_written) = (Arc::new(()), Arc::clone(&progress));
    let kept = Arc::downgrade(&taken);
    let serving = async move {
        let answer = async |request: Request| {
            let written: &UntilWritten = request.extensions().get().unwrap();
            written.keep(Arc::clone(&taken));
            let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
            drop(body);
            Ok(Response::new(Body::from(vec![b'x'; bytes])))
        };
        serve_stream(stream, answer, &until_written, stopped).await
    };
    let task = AbortOnDropHandle::new(TaskTracker::new().spawn(serving));
    Served {
        client,
        task,
        stop,
        progress,
        kept,
    }
}

impl Served {
    async fn answered(&mut self) {
        self.client.write_all(GET).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"xxx") {
            answer.push(self.client.read_u8().await.unwrap());
        }
    }

    /// How it ended, and how long after `since`.
    async fn ended(self, since: Instant) -> (Result<(), Closed>, Duration) {
        let ended = self.task.await.unwrap();
        (ended, since.elapsed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_has_its_time_from_its_first_byte_on() {
    let mut connection = served(3);
    connection.answered().await;
    sleep(Duration::from_secs(100)).await;
    let begun = Instant::now();
    while connection.client.write_all(b"G").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
    let (ended, took) = connection.ended(begun).await;
    assert!(matches!(ended, Err(Closed::TooSlow)), "{ended:?}");
    assert!(
        took.abs_diff(HEADER_TIMEOUT) <= Duration::from_secs(1),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_idle_for_longer_than_livekits_client_keeps_it() {
    let mut connection = served(3);
    sleep(Duration::from_secs(119)).await;
    connection.answered().await;
    sleep(Duration::from_secs(119)).await;
    connection.answered().await;
    let begun = Instant::now();
    let (ended, took) = connection.ended(begun).await;
    // Nothing was wrong.
    assert!(!matches!(ended, Err(Closed::TooSlow)), "{ended:?}");
    assert!(
        took.abs_diff(IDLE_TIMEOUT) <= Duration::from_secs(1),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answer_is_cut_off_and_a_slow_one_is_not() {
    let mut connection = served(100_000);
    let begun = Instant::now();
    connection.client.write_all(GET).await.unwrap();
    let (ended, took) = connection.ended(begun).await;
    assert!(matches!(ended, Err(Closed::TooSlow)), "{ended:?}");
    assert_eq!(took.as_secs(), 10);

    let mut connection = served(200_000);
    connection.client.write_all(GET).await.unwrap();
    let mut read = 0;
    while read < 200_000 {
        read += connection.client.read(&mut [0; 1000]).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert!(!connection.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_request_that_has_not_come() {
    let connection = served(3);
    connection.stop.cancel();
    assert!(connection.task.await.unwrap().is_ok());

    let mut connection = served(3);
    connection.client.write_all(b"GET / HT").await.unwrap();
    sleep(Duration::from_secs(3)).await;
    connection.stop.cancel();
    let begun = Instant::now();
    let (ended, took) = connection.ended(begun).await;
    assert!(ended.is_err());
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn where_all_places_are_taken_whoever_never_asked_anything_makes_room_first() {
    let limits = ConnectionLimits {
        connections_max: 3,
        per_peer_max: Some(3),
    };
    let open = Arc::new(Open::new(limits, Metrics::new()));
    let peer = |last: u8| IpAddr::from([10, 0, 0, last]);
    let busy = open.place(peer(1)).await.unwrap();
    busy.progress.serving();
    let kept_alive = open.place(peer(1)).await.unwrap();
    kept_alive.progress.serving();
    kept_alive.progress.answered();
    let silent = open.place(peer(1)).await.unwrap();
    assert!(open.place(peer(1)).await.is_none());
    let mut places = Vec::new();
    for (last, evicted) in [(2, &silent), (3, &kept_alive)] {
        assert!(!evicted.progress.evicted.is_cancelled());
        let place = open.place(peer(last)).await.unwrap();
        assert!(evicted.progress.evicted.is_cancelled());
        place.progress.serving();
        places.push(place);
    }
    // Nobody can make room: it is waited for.
    let waiting = open.place(peer(4));
    let mut waiting = std::pin::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop((silent, kept_alive));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    // Nothing has ended, but one has its answer.
    busy.progress.answered();
    assert!(waiting.await.is_some());
    assert!(busy.progress.evicted.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn what_a_request_takes_up_is_kept_until_its_answer_is_written() {
    let mut connection = served(100_000);
    connection.client.write_all(GET).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(connection.kept.strong_count(), 2);
    let mut read = 0;
    while read < 100_000 {
        read += connection.client.read(&mut [0; 1000]).await.unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(connection.kept.strong_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_does_not_come_makes_room_after_a_second() {
    let mut connection = served(3);
    let head = b"POST / HTTP/1.1\r\nHost: quell\r\nContent-Length: 4\r\n\r\nxx";
    connection.client.write_all(head).await.unwrap();
    let rank = async |connection: &Served, millis| {
        sleep(Duration::from_millis(millis)).await;
        connection.progress.eviction_rank().map(|(rank, _)| rank)
    };
    assert_eq!(rank(&connection, 900).await, None);
    assert_eq!(rank(&connection, 200).await, Some(2));
    connection.client.write_all(b"xx").await.unwrap();
    assert_eq!(rank(&connection, 1).await, Some(1));
}
