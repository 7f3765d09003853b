"""Traces as a collector of OpenTelemetry's gets them. quell is built with the feature `otlp` for these tests."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from support.collector import Collector, Span
from support.livekit_server import API_SECRET
from support.postgres import rows
from support.processes import eventually
from support.quell import SECRETS, Quell
from support.worlds import Double

NOWHERE = "http://127.0.0.1:9"
COLLECTORS_TOKEN = "made-up-token-of-the-collector"
PRIVATE = {
    "room": "the-room",
    "person": "the-person",
    "name": "the-name",
    "attribute": "the-attribute",
    "metadata": "the-metadata",
    "note": "the-note",
    "track": "the-track",
    "policy": "the-policy",
    "actor": "the-actor",
    "reason": "the-reason",
    "tracestate": "the-tracestate",
    "method": "THE-METHOD",
    "path": "the-path",
    "tenant": "acme",
    "secret of the tenant": SECRETS["acme"],
    "secret of LiveKit": API_SECRET,
    "token for LiveKit": "eyJ0eXAiOiJKV1Qi",
    "token for the collector": COLLECTORS_TOKEN,
}
"""What people write, and secrets: some test here sends each of them to quell, and none may reach a collector."""
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = (f"00-{TRACE}-{CALLER}-{flags}" for flags in ("01", "00"))
MUTE = "livekit.RoomService/MutePublishedTrack"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that gets nothing private, whatever a test does."""
    with Collector() as collector:
        yield collector
        for what, text in PRIVATE.items():
            assert not any(text.encode() in body for body in collector.bodies), what


@pytest.fixture
def livekit(tmp_path: Path) -> Iterator[Double]:
    """A LiveKit of the test's own, in which nobody is."""
    double = Double(tmp_path)
    yield double
    double.stop()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """What mutes every microphone."""
    file = tmp_path / "policies.yaml"
    file.write_text(f"policies: [{{name: {PRIVATE['policy']}, match: {{source: MICROPHONE}}, effect: mute}}]")
    return file


def sent_to(collector: Collector, **settings: str) -> dict[str, str]:
    """Settings that send traces there; where nothing else is said, what is left comes when quell ends."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"} | settings


def publish(livekit: Double, webhook_url: str | None) -> str:
    """Somebody publishes a microphone, and LiveKit tells of it there; returns the track's SID."""
    with httpx.Client(base_url=f"{livekit.url}/_sim", timeout=20) as sim:
        sim.put("/settings", json={"webhook_url": webhook_url, "enable_remote_unmute": True}).raise_for_status()
        metadata = f'{{"auth_id": "{PRIVATE["tenant"]}", "note": "{PRIVATE["note"]}"}}'
        room = f"/rooms/{PRIVATE['room']}"
        sim.put(room, json={"metadata": metadata}).raise_for_status()
        person = {"identity": PRIVATE["person"], "name": PRIVATE["name"], "metadata": PRIVATE["metadata"]}
        person |= {"attributes": {"of-a-person": PRIVATE["attribute"]}}
        sim.post(f"{room}/participants", json=person).raise_for_status()
        track = {"source": "MICROPHONE", "type": "AUDIO", "name": PRIVATE["track"]}
        published = sim.post(f"{room}/participants/{PRIVATE['person']}/tracks", json=track)
        return str(published.raise_for_status().json()["sid"])


def muted(quell: Quell) -> list[Mapping[str, str]]:
    """The mutes that were done, as the audit has them."""
    columns = "action_id::text, event_id, request_id"
    return rows(
        quell.database_url,
        f"select {columns} from moderation_history where action = 'mute' and outcome = 'done'",
    )


def policies(quell: Quell, headers: dict[str, str] | None = None) -> None:
    token = {"Authorization": f"Bearer {SECRETS['acme']}"}
    httpx.get(f"{quell.url}/v1/policies", headers=token | (headers or {})).raise_for_status()


def only(spans: list[Span]) -> Span:
    [span] = spans
    return span


async def test_a_mute_is_traced_from_its_webhook_on(
    quell: Quell, livekit: Double, policy: Path, collector: Collector
) -> None:
    header = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {COLLECTORS_TOKEN}"}
    # As often as can be, and with all that is logged.
    soon = {"OTEL_BSP_SCHEDULE_DELAY": "50", "QUELL_LOG": "trace"}
    quell.start(livekit.url, policy, **sent_to(collector, **header, **soon))
    publish(livekit, quell.webhook_url)
    await eventually(lambda: bool(muted(quell)), "it is muted")
    settled = {"quell.job.settlement": "muted"}
    await eventually(lambda: bool(collector.of("handle job", settled)), "the job's span comes by itself")
    quell.stop()
    row = only(muted(quell))
    job = only(collector.of("handle job", settled))
    assert job.attributes == settled | {"quell.event.id": row["event_id"], "quell.job.attempt": 1}
    assert job.proto.kind == job.proto.SPAN_KIND_CONSUMER
    accept = only(collector.of("accept event", {"quell.event.name": "track_published"}))
    assert accept.attributes["quell.event.id"] == row["event_id"]
    assert accept.is_parent_of(job)
    request = only([span for span in collector.of("POST /livekit/webhook") if span.is_parent_of(accept)])
    assert not request.proto.parent_span_id
    assert request.proto.kind == request.proto.SPAN_KIND_SERVER
    about = {"http.request.method": "POST", "http.route": "/livekit/webhook", "http.response.status_code": 200}
    assert request.attributes.items() >= about.items()
    # An operator's policy is decided before the facts are had, as far as it can be, and with them.
    names = ["decide", "facts", "decide", "intent", MUTE, "outcome"]
    assert sorted(span.name for span in collector.below(job)) == sorted(names)
    assert {span.name for span in collector.below(only(collector.of("facts")))} == {
        "livekit.RoomService/GetParticipant"
    }
    call = only(collector.of(MUTE))
    assert call.proto.kind == call.proto.SPAN_KIND_CLIENT
    assert call.attributes == {"rpc.system.name": "twirp", "rpc.method": MUTE}
    outcome = only(collector.of("outcome", {"quell.action.id": row["action_id"]}))
    # Each as long as it took: the request did not wait for the mute.
    assert accept.ended <= request.ended <= outcome.ended
    assert call.ended <= outcome.began
    assert job.resource.items() >= {"service.name": "quell"}.items()
    assert "service.version" in job.resource
    assert not collector.of("GET /readyz")
    assert {headers["authorization"] for headers in collector.headers} == {f"Bearer {COLLECTORS_TOKEN}"}
    log = quell.log()
    assert COLLECTORS_TOKEN not in log
    # Spans for the collector are none of the log's, and take none of its own away.
    assert "accept event" not in log
    assert "handle job" not in log
    assert "request{method=\"POST\" route=\"/livekit/webhook\"" in log


def test_a_callers_trace_goes_on_to_the_mute(
    quell: Quell, livekit: Double, collector: Collector
) -> None:
    quell.start(livekit.url, **sent_to(collector, OTEL_SERVICE_NAME="quiet", QUELL_SWEEP_CRON="0 0 0 1 1 *"))
    sid = publish(livekit, None)
    body = {"room_name": PRIVATE["room"], "participant_identity": PRIVATE["person"], "track_sid": sid, "muted": True}
    headers = {"X-Request-Id": "req-1", "X-Actor": PRIVATE["actor"], "X-Reason": PRIVATE["reason"]}
    headers |= {"traceparent": SAMPLED, "tracestate": f"vendor={PRIVATE['tracestate']}"}
    assert quell.mute("acme", body, headers).status_code == 200
    quell.stop()
    row = only(muted(quell))
    request = only(collector.of("POST /livekit/participant/mute"))
    assert (request.proto.trace_id.hex(), request.proto.parent_span_id.hex()) == (TRACE, CALLER)
    assert request.attributes["quell.request.id"] == row["request_id"] == "req-1"
    assert request.resource["service.name"] == "quiet"
    answer = only(collector.below(request))
    assert answer.name == "answer"
    assert {span.name for span in collector.below(answer)} >= {"intent", MUTE, "outcome"}
    assert only(collector.of("outcome")).attributes == {"quell.action.id": row["action_id"]}


async def test_a_sweep_is_a_trace_with_what_it_does(
    quell: Quell, livekit: Double, policy: Path, collector: Collector
) -> None:
    publish(livekit, None)
    quell.start(livekit.url, policy, **sent_to(collector))
    await eventually(lambda: bool(muted(quell)), "it is muted")
    swept = "select id::text from sweeps where cause = 'start' and finished_at is not null"
    await eventually(lambda: bool(rows(quell.database_url, swept)), "the sweep ends")
    quell.stop()
    sweep = only(collector.of("sweep", {"quell.sweep.cause": "start"}))
    assert not sweep.proto.parent_span_id
    assert sweep.attributes["quell.sweep.id"] == only(rows(quell.database_url, swept))["id"]
    assert {span.name for span in collector.below(sweep)} >= {"intent", MUTE, "outcome"}
    assert not collector.of("decide")


async def test_what_fails_is_an_error_without_anybodys_words(
    quell: Quell, livekit: Double, policy: Path, collector: Collector
) -> None:
    quell.start(livekit.url, policy, **sent_to(collector))
    fault = {"method": "MutePublishedTrack", "kind": "unavailable", "times": 1}
    httpx.put(f"{livekit.url}/_sim/faults", json=[fault]).raise_for_status()
    publish(livekit, quell.webhook_url)
    await eventually(lambda: bool(muted(quell)), "it is muted the second time")
    httpx.request(PRIVATE["method"], f"{quell.url}/{PRIVATE['path']}")
    quell.stop()
    failed, done = collector.of(MUTE)
    assert failed.proto.status.code == failed.proto.status.STATUS_CODE_ERROR
    assert failed.attributes["error.type"] == "503"
    assert not failed.proto.status.message
    assert "error.type" not in done.attributes
    # Both tries are in the webhook's trace.
    assert failed.proto.trace_id == done.proto.trace_id
    unknown = only(collector.of("HTTP"))
    assert unknown.attributes["http.request.method"] == "_OTHER"
    assert "http.route" not in unknown.attributes


@pytest.mark.parametrize(
    ("sampler", "want"),
    [
        # Whose callers' decision counts, and whose does not.
        ({}, ["own", "sampled"]),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, ["own", "sampled", "not sampled"]),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, []),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, []),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, ["sampled"]),
    ],
    ids=str,
)
def test_the_sampler_says_which_traces_are_kept(
    quell: Quell, collector: Collector, sampler: dict[str, str], want: list[str]
) -> None:
    quell.start(NOWHERE, **sent_to(collector), **sampler)
    policies(quell, {"x-request-id": "own", "traceparent": "nonsense"})
    policies(quell, {"x-request-id": "sampled", "traceparent": SAMPLED})
    policies(quell, {"x-request-id": "not sampled", "traceparent": NOT_SAMPLED})
    quell.stop()
    kept = [span.attributes["quell.request.id"] for span in collector.of("GET /v1/policies")]
    assert kept == want


def test_a_collector_that_hangs_keeps_nothing_waiting(quell: Quell, livekit: Double) -> None:
    with Collector(hangs=True) as collector:
        at_once = {"OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_BSP_MAX_QUEUE_SIZE": "2"}
        quell.start(livekit.url, **sent_to(collector, **at_once))
        collector.wait_until_asked()
        sid = publish(livekit, None)
        body = {"room_name": PRIVATE["room"], "participant_identity": PRIVATE["person"], "track_sid": sid}
        asked = time.monotonic()
        for i in range(20):
            assert quell.mute("acme", body | {"muted": i % 2 == 0}).status_code == 200
        assert time.monotonic() - asked < 5
        told = time.monotonic()
        quell.stop()
        # It waits for 3 s at most.
        assert time.monotonic() - told < 8
        assert "the last traces may not have reached the collector" in quell.log()


def test_spans_and_the_collectors_token_go_where_they_are_told_alone(quell: Quell, collector: Collector) -> None:
    with Collector(redirects_to=collector.url) as redirecting:
        # A proxy of others' is none of quell's.
        quell.start(NOWHERE, **sent_to(redirecting), HTTP_PROXY=NOWHERE, http_proxy=NOWHERE)
        policies(quell)
        quell.stop()
        redirecting.wait_until_asked()
    assert not collector.bodies


async def test_a_collector_that_is_down_is_one_warning(quell: Quell) -> None:
    url = "http://me:hunter2@127.0.0.1:9/of/traces?key=hunter2"
    quell.start(NOWHERE, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=url, OTEL_BSP_SCHEDULE_DELAY="50")
    warning = "traces cannot be sent to the collector, and are dropped"
    policies(quell)
    await eventually(lambda: warning in quell.log(), "a warning")
    policies(quell)
    quell.stop()
    assert quell.log().count(warning) == 1
    assert " ERROR " not in quell.log().split(warning)[1]
    assert "hunter2" not in quell.log()


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}], ids=str)
def test_nothing_is_sent_where_nobody_wants_it(quell: Quell, collector: Collector, off: dict[str, str]) -> None:
    quell.start(NOWHERE, **sent_to(collector), **off)
    policies(quell)
    quell.stop()
    assert not collector.bodies


def test_settings_that_cannot_be_used_are_a_warning_and_no_traces(quell: Quell, collector: Collector) -> None:
    quell.start(NOWHERE, **sent_to(collector, OTEL_EXPORTER_OTLP_PROTOCOL="grpc"))
    policies(quell)
    quell.stop()
    assert not collector.bodies
    assert 'no traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", but must be http/protobuf' in quell.log()
