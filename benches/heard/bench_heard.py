"""How much of a forbidden microphone others hear, with quell and without it.

    make bench-heard [ARGS="--publishes 20 --write"]

A participant joins and publishes a tone that a policy forbids; another counts the frames of 10 ms
that it hears of it in the two seconds after. The same without quell is the yardstick. The time of
each step between webhook and mute is taken from quell's own /metrics, publish by publish.
Everything runs on one machine, the livekit-server and the clients too, and Postgres syncs to disk.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/e2e"))

from support.client import Client
from support.livekit_server import LiveKitServer
from support.postgres import Postgres
from support.processes import eventually
from support.quell import Quell
from support.twirp import RoomService

ROOM = "webinar-bench"
WINDOW_FRAMES = 200
# The room starts, two join, the host publishes; then who joins, publishes, unpublishes and leaves.
EVENTS_BEFORE, EVENTS_A_PUBLISH = 4, 4
MARKERS = ("<!-- heard-frames -->", "<!-- /heard-frames -->")
# In the order that they happen; the last is all of them up to LiveKit's answer.
STEPS = {
    "Verify": "signature and digest",
    "Commit": "event and job committed",
    "Queue": "until a worker has the job",
    "Facts": "room and participant asked of LiveKit",
    "Decide": "policies evaluated",
    "Intent": "lease and audit row committed",
    "Call": "LiveKit's mute call",
    "WebhookToMute": "**webhook arrived to mute answered**",
}


@dataclass
class Run:
    """What one series of publishes gave."""

    frames: list[int]
    """Heard, by publish."""
    steps_ms: dict[str, list[float]]
    """By step, by publish; empty without quell."""


class Steps:
    """Reads how long each step of the one publish in between took."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._before: dict[str, tuple[float, float]] = {}

    def _read(self) -> dict[str, tuple[float, float]]:
        text = httpx.get(f"{self._url}/metrics", timeout=5).text
        values = {
            (kind, step): float(value)
            for kind, step, value in re.findall(r'quell_step_seconds_(sum|count){step="(\w+)"} (\S+)', text)
        }
        return {step: (values["count", step], values["sum", step]) for kind, step in values if kind == "sum"}

    async def start(self, events: int) -> None:
        """Begins a publish, once quell is done with the `events` that came before it."""
        await eventually(lambda: self._received() >= events, f"{events} webhooks came")
        self._before = self._read()

    def _received(self) -> float:
        text = httpx.get(f"{self._url}/metrics", timeout=5).text
        return sum(float(value) for value in re.findall(r"quell_webhooks_total{[^}]*} (\S+)", text))

    def muted(self) -> bool:
        """Whether the mute of this publish is over."""
        count, _ = self._read().get("WebhookToMute", (0, 0))
        return count > self._before.get("WebhookToMute", (0, 0))[0]

    def taken_ms(self) -> dict[str, float]:
        """The milliseconds of each step since then."""
        return {
            step: (total - self._before.get(step, (0, 0.0))[1]) * 1000
            for step, (_, total) in self._read().items()
            if step in STEPS
        }


async def publish_and_count(url: str, ears: Client, number: int, steps: Steps | None) -> int:
    """One publish; returns how many of its frames `ears` heard."""
    who = f"attendee-{number}"
    attendee = await Client.join(url, ROOM, who, attributes={"role": "attendee"})
    if steps is not None:
        await steps.start(events=EVENTS_BEFORE + EVENTS_A_PUBLISH * number + 1)
    track = await attendee.publish_tone()
    # The host's tone is the clock: frames that are really heard, not time that passes.
    await ears.hears("host", frames=WINDOW_FRAMES)
    if steps is not None:
        await eventually(steps.muted, f"quell mutes {track}")
    await attendee.leave()
    return ears.heard[who].loud


async def series(url: str, publishes: int, quell: Quell | None) -> Run:
    """A series of publishes in a room where a host speaks."""
    api = RoomService(url)
    await api.create_room(ROOM, json.dumps({"auth_id": "acme"}))
    ears = await Client.join(url, ROOM, "ears")
    host = await Client.join(url, ROOM, "host", attributes={"role": "host"})
    await host.publish_tone()
    await ears.hears("host")
    steps = Steps(quell.url) if quell else None
    run = Run([], {step: [] for step in STEPS} if quell else {})
    for number in range(publishes):
        run.frames.append(await publish_and_count(url, ears, number, steps))
        if steps is not None:
            for step, taken in steps.taken_ms().items():
                run.steps_ms[step].append(taken)
        print(f"  publish {number + 1}: {run.frames[-1]} frames heard", file=sys.stderr)
    for client in (host, ears):
        await client.leave()
    await api.aclose()
    return run


async def without_quell(directory: Path, publishes: int) -> Run:
    """Nobody mutes."""
    livekit = LiveKitServer(directory, remote_unmute=False, name="livekit-alone")
    try:
        return await series(livekit.url, publishes, None)
    finally:
        livekit.stop()


async def with_quell(directory: Path, publishes: int) -> Run:
    """quell mutes what its policies forbid."""
    with Postgres(durable=True) as postgres:
        quell = Quell(directory, postgres.new_database())
        livekit = LiveKitServer(directory, webhook_urls=[quell.webhook_url], remote_unmute=False)
        try:
            quell.start(livekit.url, REPOSITORY / "tests/e2e/policies", QUELL_LOG="warn")
            return await series(livekit.url, publishes, quell)
        finally:
            quell.stop()
            livekit.stop()


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Minimum, median and maximum."""
    three = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{value:.{digits}f}" for value in three)


def table(alone: Run, quiet: Run) -> str:
    """The two runs side by side, in Markdown."""
    lines = [
        "| | publishes | heard at all | frames of 10 ms heard, min / median / max |",
        "|---|---|---|---|",
    ]
    for name, run in (("without quell", alone), ("with quell", quiet)):
        heard = sum(1 for frames in run.frames if frames)
        lines.append(f"| {name} | {len(run.frames)} | {heard} | {spread(run.frames)} |")
    lines += ["", "| step | ms, min / median / max |", "|---|---|"]
    lines += [f"| {STEPS[step]} | {spread(taken, 2)} |" for step, taken in quiet.steps_ms.items() if taken]
    lines += ["", f"In the {WINDOW_FRAMES} frames after each publish; {machine()}, everything on it."]
    lines += [why_heard(quiet, number) for number, frames in enumerate(quiet.frames) if frames]
    return "\n".join(lines)


def why_heard(run: Run, number: int) -> str:
    """Where the time went in a publish that was heard."""
    steps = ", ".join(f"{step} {taken[number]:.1f}" for step, taken in run.steps_ms.items())
    return f"Publish {number + 1}: {run.frames[number]} frames heard; ms: {steps}."


def machine() -> str:
    """What it ran on."""
    cpus = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return f"{len(cpus)} x {cpus[0]}" if cpus else "an unknown machine"


def write(readme: Path, text: str) -> None:
    """Puts the table between its markers."""
    before, rest = readme.read_text().split(MARKERS[0], 1)
    _, after = rest.split(MARKERS[1], 1)
    readme.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


async def measure(publishes: int) -> str:
    """Both runs."""
    with tempfile.TemporaryDirectory() as directory:
        print("without quell:", file=sys.stderr)
        alone = await without_quell(Path(directory), publishes)
        print("with quell:", file=sys.stderr)
        quiet = await with_quell(Path(directory), publishes)
    return table(alone, quiet)


def main(arguments: Iterable[str] | None = None) -> None:
    """Measures, prints the table, and writes it into the README where asked to."""
    parser = argparse.ArgumentParser(description="frames heard of a forbidden microphone")
    parser.add_argument("--publishes", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args(None if arguments is None else list(arguments))
    text = asyncio.run(measure(options.publishes))
    print(text)
    if options.write:
        write(REPOSITORY / "README.md", text)


if __name__ == "__main__":
    main()
