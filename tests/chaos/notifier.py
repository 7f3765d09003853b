"""LiveKit's notifier, and the harness's own record of every answer.

What livekit/protocol does (webhook/resource_url_notifier.go, resource_queue.go) with the defaults of
hashicorp/go-retryablehttp, and what is done here:

- one queue a URL and room, first in first out, one delivery in flight;
- an event that finds 200 before it, or whose turn comes after more than 30 s, is dropped;
- it is signed once, for 5 minutes, and sent again after 1, 2, 4 and 8 s (or the Retry-After of a 429 or
  503) where there is no answer, or 429, or 5xx but 501; then it is dropped;
- everything else, 4xx too, counts as success;
- an answer is waited for without a limit (its client has none); a connection for 30 s.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from aiohttp import web
from support.livekit_server import API_KEY, API_SECRET

RETRY_WAITS_SECONDS = (1, 2, 4, 8)
QUEUE_MAX = 200
AGE_MAX_SECONDS = 30
TOKEN_VALID_SECONDS = 300
CONNECT_SECONDS = 30
ANSWER_UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)


@dataclass(frozen=True)
class Event:
    """One event of LiveKit's, as the double tells it."""

    body: bytes
    id: str
    created_at: int
    name: str
    room: str
    track: str

    @classmethod
    def read(cls, body: bytes) -> "Event":
        """Reads what is needed of it."""
        told: dict[str, Any] = json.loads(body)
        return cls(
            body,
            str(told["id"]),
            int(told["createdAt"]),
            str(told["event"]),
            str(told.get("room", {}).get("name", "")),
            str(told.get("track", {}).get("sid", "")),
        )


@dataclass(frozen=True)
class Delivery:
    """How one event fared at one URL."""

    event: Event
    replica: int
    status: int
    """Of the last answer; 0: none."""
    attempts: int
    at: float
    """Unix time."""


@dataclass
class Journal:
    """Append only: a line is in the file before anything else is done about an answer."""

    file: Path
    deliveries: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._out = self.file.open("a", buffering=1)

    def add(self, delivery: Delivery) -> None:
        """Notes an answer, or that an event was given up."""
        event = delivery.event
        line = {
            "at": delivery.at, "status": delivery.status, "replica": delivery.replica,
            "attempts": delivery.attempts, "id": event.id, "created_at": event.created_at,
            "event": event.name, "room": event.room, "track": event.track,
        }
        self._out.write(json.dumps(line) + "\n")
        self.deliveries.append(delivery)

    def acknowledged(self) -> dict[str, Event]:
        """Every event with a 2xx, by its id."""
        return {d.event.id: d.event for d in self.deliveries if 200 <= d.status < 300}

    def refused(self) -> list[Delivery]:
        """What LiveKit takes for success, and was none."""
        return [d for d in self.deliveries if d.status and not 200 <= d.status < 300 and not is_retried(d.status)]

    def given_up(self) -> set[str]:
        """Events that nobody took: LiveKit does not send them any more."""
        return {d.event.id for d in self.deliveries if is_retried(d.status)} - set(self.acknowledged())

    def close(self) -> None:
        """Closes the file."""
        self._out.close()


def is_retried(status: int) -> bool:
    """Whether retryablehttp tries again."""
    return status in (0, 429) or status >= 500 and status != 501


def sign(body: bytes) -> dict[str, str]:
    """LiveKit's headers: a token that holds the body's hash."""
    now = int(time.time())
    claims = {
        "iss": API_KEY, "nbf": now, "iat": now, "exp": now + TOKEN_VALID_SECONDS,
        "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
    }
    token = jwt.encode(claims, API_SECRET, algorithm="HS256")
    return {"Authorization": token, "Content-Type": "application/webhook+json"}


async def post(http: aiohttp.ClientSession, url: str, event: Event, headers: dict[str, str]) -> tuple[int, int | None]:
    """One attempt: the status (0: no answer), and how long it asks to wait."""
    try:
        async with http.post(url, data=event.body, headers=headers, timeout=ANSWER_UNLIMITED) as answer:
            await answer.read()
            asks = answer.headers.get("Retry-After", "") if answer.status in (429, 503) else ""
            return answer.status, int(asks) if asks.isdigit() else None
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0, None


@dataclass
class _Queue:
    waiting: deque[tuple[float, Event]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Notifier:
    """Takes the double's events and sends them on, as LiveKit would, to one URL.

    The URL is a replica's, or a load balancer's: `choose` says for each attempt which replica that comes to, or none.
    """

    def __init__(
        self, journal: Journal, http: aiohttp.ClientSession, choose: Callable[[], tuple[int, str] | None]
    ) -> None:
        self._journal = journal
        self._http = http
        self._choose = choose
        self._queues: dict[str, _Queue] = {}
        self.dropped = 0
        """Without an attempt: by age, or by a full queue."""

    def queue(self, event: Event) -> None:
        """Puts it at the end of its room's queue."""
        queue = self._queues.setdefault(event.room, _Queue())
        if len(queue.waiting) >= QUEUE_MAX:
            self.dropped += 1
            return
        queue.waiting.append((time.monotonic(), event))
        if queue.task is None or queue.task.done():
            queue.task = asyncio.create_task(self._work_off(queue))

    @property
    def open(self) -> int:
        """How many are waiting or under way."""
        busy = sum(1 for queue in self._queues.values() if queue.task is not None and not queue.task.done())
        return busy + sum(len(queue.waiting) for queue in self._queues.values())

    async def stop(self) -> None:
        """Ends it, whatever is open."""
        tasks = [queue.task for queue in self._queues.values() if queue.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work_off(self, queue: _Queue) -> None:
        while queue.waiting:
            since, event = queue.waiting.popleft()
            if time.monotonic() - since > AGE_MAX_SECONDS:
                self.dropped += 1
            else:
                await self._send(event)

    async def _send(self, event: Event) -> None:
        headers = sign(event.body)
        for attempt in range(1, len(RETRY_WAITS_SECONDS) + 2):
            replica, status, asks = await self._attempt(event, headers)
            given_up = attempt > len(RETRY_WAITS_SECONDS)
            if not is_retried(status) or given_up:
                self._journal.add(Delivery(event, replica, status, attempt, time.time()))
                return
            await asyncio.sleep(RETRY_WAITS_SECONDS[attempt - 1] if asks is None else asks)

    async def _attempt(self, event: Event, headers: dict[str, str]) -> tuple[int, int, int | None]:
        chosen = self._choose()
        if chosen is None:
            return -1, 0, None
        replica, url = chosen
        status, asks = await post(self._http, url, event, headers)
        return replica, status, asks


class Relay:
    """Where the double sends its webhooks: each goes into the queues of every notifier."""

    def __init__(self) -> None:
        self.notifiers: list[Notifier] = []
        self.events: dict[str, Event] = {}
        """All that LiveKit has told of, by id."""
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listens on a free port."""
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        [address] = self._runner.addresses
        self.url = f"http://127.0.0.1:{address[1]}/hook"

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        event = Event.read(await request.read())
        self.events[event.id] = event
        for notifier in self.notifiers:
            notifier.queue(event)
        return web.Response()
