//! `GET /v1/audit/stream`: outcomes as they are committed, as server-sent events (WHATWG HTML, 9.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::time::Instant;

use super::super::admission::Slot;
use super::super::auth::Scope;
use super::super::codes;
use super::super::openapi::{Operation, Schemas};
use super::super::problem::Problem;
use super::super::request::{ApiRequest, QueryParam};
use super::super::state::AppState;
use super::described::{TAG, example};
use super::query::{StreamQuery, asked};
use crate::access::Viewer;
use crate::audit::history::{HistoryFilter, HistoryRow};
use crate::audit::tail::{self, PlaceKey, TailPosition};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How often it is looked whether more was committed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Proxies take a connection for dead that says nothing for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Then the client comes again, and is asked for its token again.
const STREAM_MAX: Duration = Duration::from_mins(15);

/// What is read behind `position`, and not sent yet.
struct Tail {
    state: AppState,
    filter: HistoryFilter,
    viewer: Viewer,
    key: PlaceKey,
    position: TailPosition,
    unsent: VecDeque<(TailPosition, HistoryRow)>,
    looked_at: Option<Instant>,
    told_at: Instant,
    until: Instant,
    _held: (ApiRequest, Slot),
}

impl Tail {
    /// The next event; none once the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.state.stop.is_cancelled() || Instant::now() > self.until {
                return None;
            }
            if let Some((at, row)) = self.unsent.pop_front() {
                self.told_at = Instant::now();
                let event = Event::default().id(self.key.write(at)).event("action");
                match event.json_data(row.shown_to(&self.viewer)) {
                    Ok(event) => return Some(event),
                    Err(error) => tracing::error!(%error, "an action cannot be written as JSON"),
                }
                continue;
            }
            if let Some(looked_at) = self.looked_at {
                let stop = &self.state.stop;
                stop.run_until_cancelled(tokio::time::sleep_until(looked_at + LOOK_EVERY))
                    .await?;
            }
            match tail::tail(&self.state.pool, &self.filter, self.position).await {
                Ok(batch) => {
                    self.looked_at = (!batch.is_full).then(Instant::now);
                    self.unsent = batch.rows.into();
                    self.position = batch.position;
                }
                // Postgres is gone for a while: nothing is lost, and it is looked again.
                Err(error) => {
                    tracing::warn!(%error, "the tail of the audit cannot be read");
                    self.looked_at = Some(Instant::now());
                }
            }
            // Whoever comes back later need not look through what is none of its own.
            if self.unsent.is_empty() && self.told_at.elapsed() > KEEP_ALIVE {
                self.told_at = Instant::now();
                return Some(Event::default().id(self.key.write(self.position)));
            }
        }
    }
}

pub(in crate::http) async fn stream(
    State(state): State<AppState>,
    query: QueryParam<StreamQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (request, _, filter) = asked(&state, query, request).await?;
    let slot = state
        .queues
        .stream
        .admit(request.caller_id.as_str())
        .await?;
    let key = PlaceKey::load(&state.pool).await?;
    let end = tail::tail_end(&state.pool).await?;
    let position = match request.parts.headers.get(LAST_EVENT_ID) {
        Some(id) => {
            let position = id.to_str().ok().and_then(|id| key.read(id));
            // A database that was put back has places that are not there yet.
            let position = position.filter(|position| *position <= end);
            position.ok_or_else(|| {
                Problem::invalid_request(
                    "Last-Event-ID is none of this database's: send the id of the last event that came, or leave it out to begin now",
                )
            })?
        }
        None => end,
    };
    // Whoever is cut off before the first action comes back with a place too.
    let begin = Event::default().id(key.write(position));
    let tail = Tail {
        state,
        filter,
        viewer: request.principal.viewer(),
        key,
        position,
        unsent: VecDeque::new(),
        looked_at: None,
        told_at: Instant::now(),
        until: Instant::now() + STREAM_MAX,
        _held: (request, slot),
    };
    let events = stream::unfold(tail, async |mut tail| {
        let event = tail.next().await?;
        Some((Ok::<_, Infallible>(event), tail))
    });
    let events = stream::once(async { Ok(begin) }).chain(events);
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

pub(in crate::http) fn operation(schemas: &mut Schemas) -> Operation {
    let text = format!(
        "id: nUa3wC0pQ3y1B0m2m2c1Xw\nevent: action\ndata: {}\n\n",
        example()
    );
    let content = json!({"text/event-stream": {"schema": {"type": "string"}, "example": text}});
    let id = json!({"type": "string"});
    Operation::of_caller(Scope::AuditRead, TAG, "streamActions", "Outcomes as they are committed")
        .text("Server-sent events of the kind `action`, each an action as JSON, in the order of commits. With `Last-Event-ID` it goes on behind that event: nothing is left out, and nothing comes twice. Without it, it begins now. An action comes once, with its outcome. An id alone comes first, and keeps the connection alive; it ends after 15 minutes, and the client comes again.")
        .query::<StreamQuery>(schemas)
        .header("Last-Event-ID", "The id of the last event that came.", &id, "nUa3wC0pQ3y1B0m2m2c1Xw")
        .answer_of(StatusCode::OK, "Events, until either side ends it.", &content)
        .errors(&[codes::STREAM_BUSY, codes::STREAMS_BUSY])
}
