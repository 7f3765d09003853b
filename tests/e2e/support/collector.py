"""A collector of OpenTelemetry's: takes spans as OTLP over HTTP, and keeps them."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto


@dataclass(frozen=True)
class Span:
    """One span as it came."""

    name: str
    proto: Proto
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def began(self) -> int:
        """Nanoseconds since the epoch."""
        return int(self.proto.start_time_unix_nano)

    @property
    def ended(self) -> int:
        """Nanoseconds since the epoch."""
        return int(self.proto.end_time_unix_nano)

    def is_parent_of(self, other: "Span") -> bool:
        """Whether the other is in this one."""
        mine, its = self.proto, other.proto
        return (mine.trace_id, mine.span_id) == (its.trace_id, its.parent_span_id)


def _values(attributes: Any) -> dict[str, Any]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in attributes}


class Collector:
    """Listens on a free port of loopback until closed. One that hangs takes requests, and never answers; one that
    `redirects_to` another keeps nothing."""

    def __init__(self, *, hangs: bool = False, redirects_to: str | None = None) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._spans: list[Span] = []
        self._asked, self._closed = threading.Event(), threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._asked.set()
                if hangs:
                    collector._closed.wait()
                    return
                if redirects_to:
                    self.send_response(307)
                    self.send_header("location", f"{redirects_to}{self.path}")
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                is_otlp = (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
                if is_otlp:
                    collector._take(body, {name.lower(): value for name, value in self.headers.items()})
                self.send_response(200 if is_otlp else 400)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Tests look at what came."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, body: bytes, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        self.headers.append(headers)
        for of_resource in request.resource_spans:
            resource = _values(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                self._spans += [Span(span.name, span, _values(span.attributes), resource) for span in scope.spans]

    def wait_until_asked(self) -> None:
        """Waits for the first request, for 15 s at the most."""
        if not self._asked.wait(15):
            raise TimeoutError("nobody sent a span")

    def of(self, name: str, attributes: Mapping[str, object] | None = None) -> list[Span]:
        """The spans of this name that have come, and with these attributes, in the order in which they began."""
        wanted = (attributes or {}).items()
        spans = [span for span in list(self._spans) if span.name == name and span.attributes.items() >= wanted]
        return sorted(spans, key=lambda span: span.began)

    def below(self, span: Span) -> list[Span]:
        """The spans in this one."""
        return [it for it in list(self._spans) if span.is_parent_of(it)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
