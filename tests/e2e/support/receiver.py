"""A receiver of webhooks that keeps every byte, and answers what the test wants."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .processes import eventually


@dataclass(frozen=True)
class Delivery:
    """One request as it came."""

    at: float
    """When, on the monotonic clock."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    path: str
    event: dict[str, Any] = field(compare=False)

    @property
    def room(self) -> str:
        """The name of the room that it tells of."""
        return str(self.event.get("room", {}).get("name", ""))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A sender that ends while its connection is open is no news to a test."""


class Receiver:
    """Listens on a free port of loopback until closed."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._answers: list[tuple[Callable[[Delivery], bool], list[int]]] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, which: Callable[[Delivery], bool], *statuses: int) -> None:
        """Answers the next deliveries of this kind with these statuses; all others with 200."""
        with self._lock:
            self._answers.append((which, list(statuses)))

    def of(self, room: str, event: str | None = None) -> list[Delivery]:
        """What came about this room."""
        return [
            delivery
            for delivery in list(self.deliveries)
            if delivery.room == room and event in (None, delivery.event["event"])
        ]

    async def wait(self, room: str, event: str, count: int = 1, seconds: float = 15) -> list[Delivery]:
        """Waits until `count` of these came."""
        await eventually(lambda: len(self.of(room, event)) >= count, f"{count} x {event} of {room}", seconds)
        return self.of(room, event)

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, delivery: Delivery) -> int:
        with self._lock:
            self.deliveries.append(delivery)
            for which, statuses in self._answers:
                if statuses and which(delivery):
                    return statuses.pop(0)
        return 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                delivery = Delivery(time.monotonic(), headers, body, self.path, json.loads(body))
                self.send_response(take(delivery))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """The test's own assertions say what came."""

        return Handler
