"""How much of a forbidden microphone others hear, with quell and without it.

    make bench-heard [ARGS="--publishes 20 --policies 10000 --write"]

A participant joins and publishes a tone that a policy forbids; another counts the frames of 10 ms
that it hears of it in the two seconds after. The same without quell is the yardstick. quell is
measured twice: with the few policies of the e2e tests, and with thousands around them that all turn
out not to be about the tone (many_policies.py). The time of each step between webhook and mute is
taken from quell's own /metrics, publish by publish. It fails where a frame is heard with quell.
Everything runs on one machine, the livekit-server and the clients too, and Postgres syncs to disk.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/e2e"))

import many_policies
from support.client import Client
from support.dying import LIVEKIT_TIMEOUT_MS, die_at_publishes
from support.livekit_server import LiveKitServer
from support.postgres import Postgres
from support.postgres import rows as query
from support.processes import eventually
from support.quell import Quell
from support.twirp import RoomService

ROOM, TENANT = "webinar-bench", "acme"
FEW = REPOSITORY / "tests/e2e/policies/e2e.yaml"
# The one that decides, with however many others.
DECIDES = "webinar-mics"
WINDOW_FRAMES = 200
# A second, where one of two replicas is killed at a publish.
DEATH_FRAMES_MAX = 100
# The room starts, two join, the host publishes; then who joins, publishes, unpublishes and leaves.
EVENTS_BEFORE, EVENTS_A_PUBLISH = 4, 4
MARKERS = ("<!-- heard-frames -->", "<!-- /heard-frames -->")
# In the order that they happen; the last is all of them up to LiveKit's answer.
STEPS = {
    "Verify": "signature and digest",
    "Commit": "the events of one publish committed, in all",
    "Queue": "arrived until it is the job's turn, the commit included",
    "Facts": "room and participant asked of LiveKit",
    "Decide": "policies evaluated",
    "Intent": "lease and audit row committed",
    "Call": "LiveKit's mute call",
    "WebhookToMute": "**webhook arrived to mute answered**",
}


@dataclass
class Run:
    """What one series of publishes gave."""

    name: str
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

    def policies(self) -> int:
        """How many are in force."""
        text = httpx.get(f"{self._url}/metrics", timeout=5).text
        return sum(int(value) for value in re.findall(r"^quell_policies (\d+)", text, re.MULTILINE))

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
    attendee = await Client.join(url, ROOM, who, attributes={"role": "attendee"}, listens=False)
    if steps is not None:
        await steps.start(events=EVENTS_BEFORE + EVENTS_A_PUBLISH * number + 1)
    track = await attendee.publish_tone()
    # The host's tone is the clock: frames that are really heard, not time that passes.
    await ears.hears("host", frames=WINDOW_FRAMES)
    if steps is not None:
        await eventually(steps.muted, f"quell mutes {track}")
    await attendee.leave()
    return ears.heard[who].loud


async def series(name: str, url: str, publishes: int, quell: Quell | None) -> Run:
    """A series of publishes in a room where a host speaks."""
    print(f"{name}:", file=sys.stderr)
    api = RoomService(url)
    await api.create_room(ROOM, json.dumps({"auth_id": TENANT}))
    ears = await Client.join(url, ROOM, "ears")
    host = await Client.join(url, ROOM, "host", attributes={"role": "host"}, listens=False)
    await host.publish_tone()
    await ears.hears("host")
    steps = Steps(quell.url) if quell else None
    run = Run(name, [], {step: [] for step in STEPS} if quell else {})
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
        return await series("without quell", livekit.url, publishes, None)
    finally:
        livekit.stop()


async def with_quell(directory: Path, publishes: int, policies: int) -> Run:
    """quell mutes what its policies forbid: the few alone, or among others, `count` in all."""
    folder = directory / f"policies-{policies}"
    folder.mkdir()
    few = FEW.read_text()
    (folder / FEW.name).write_text(few)
    if policies > 0:
        many_policies.write(folder, policies - few.count("- name:"), room=ROOM, tenant=TENANT)
    with Postgres(durable=True) as postgres:
        quell = Quell(directory, postgres.new_database())
        livekit = LiveKitServer(directory, webhook_urls=[quell.webhook_url], remote_unmute=False)
        try:
            quell.start(livekit.url, folder, QUELL_LOG="warn")
            in_force = Steps(quell.url).policies()
            if in_force < policies:
                raise RuntimeError(f"{in_force} policies are in force, and {policies} were to be")
            run = await series(f"with quell, {in_force:,} policies", livekit.url, publishes, quell)
            check_who_decided(quell, publishes)
            return run
        finally:
            quell.stop()
            livekit.stop()


async def with_deaths(directory: Path, publishes: int) -> Run:
    """Two replicas in LiveKit's `webhook.urls`, of which one is killed at a random instant of each publish."""
    print("with two replicas, one killed at each publish:", file=sys.stderr)
    with Postgres(durable=True) as postgres:
        database = postgres.new_database()
        quells = [Quell(directory, database, name=f"quell-replica-{number}") for number in range(2)]
        urls = [quell.webhook_url for quell in quells]
        livekit = LiveKitServer(directory, webhook_urls=urls, remote_unmute=False, name="livekit-replicas")
        try:
            for quell in quells:
                quell.start(livekit.url, FEW.parent, QUELL_LOG="warn", QUELL_LIVEKIT_TIMEOUT_MS=LIVEKIT_TIMEOUT_MS)
            frames, _ = await die_at_publishes(livekit, quells, ROOM, publishes, random.randrange(2**32))
        finally:
            for quell in quells:
                quell.stop()
            livekit.stop()
    print(f"  frames heard: {frames}", file=sys.stderr)
    return Run("with two replicas, one killed at each publish", frames, {})


def check_who_decided(quell: Quell, publishes: int) -> None:
    """Fails where another policy than the one that is measured had a say, also in dry run."""
    found = query(
        quell.database_url,
        "select policy_name, outcome, count(*) from moderation_history"
        " where origin = 'webhook' group by 1, 2",
    )
    if found != [{"policy_name": DECIDES, "outcome": "done", "count": publishes}]:
        raise RuntimeError(f"not every publish was muted by {DECIDES}, and by nothing else: {found}")


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Minimum, median and maximum."""
    three = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{value:.{digits}f}" for value in three)


def table(alone: Run, quiet: Sequence[Run], deaths: Run) -> str:
    """The runs side by side, in Markdown."""
    lines = [
        "| | publishes | heard at all | frames of 10 ms heard, min / median / max |",
        "|---|---|---|---|",
    ]
    for run in (alone, *quiet, deaths):
        heard = sum(1 for frames in run.frames if frames)
        lines.append(f"| {run.name} | {len(run.frames)} | {heard} | {spread(run.frames)} |")
    lines += ["", f"| ms, min / median / max | {' | '.join(run.name for run in quiet)} |"]
    lines += ["|---|" + "---|" * len(quiet)]
    for step, name in STEPS.items():
        lines.append(f"| {name} | {' | '.join(spread(run.steps_ms[step], 2) for run in quiet)} |")
    lines += ["", f"In the {WINDOW_FRAMES} frames after each publish (150 where a replica is killed); {machine()}, everything on it."]
    lines += [why_heard(run, number) for run in quiet for number, frames in enumerate(run.frames) if frames]
    return "\n".join(lines)


def why_heard(run: Run, number: int) -> str:
    """Where the time went in a publish that was heard."""
    steps = ", ".join(f"{step} {taken[number]:.1f}" for step, taken in run.steps_ms.items())
    return f"{run.name.capitalize()}, publish {number + 1}: {run.frames[number]} frames heard; ms: {steps}."


def publishes_heard_max(publishes: int) -> int:
    """How many of them may be heard although a replica is killed at each: one in ten."""
    return max(1, publishes // 10)


def machine() -> str:
    """What it ran on."""
    cpus = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return f"{len(cpus)} x {cpus[0]}" if cpus else "an unknown machine"


def write(readme: Path, text: str) -> None:
    """Puts the table between its markers."""
    before, rest = readme.read_text().split(MARKERS[0], 1)
    _, after = rest.split(MARKERS[1], 1)
    readme.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


async def measure(publishes: int, policies: int) -> tuple[Run, list[Run], Run]:
    """All runs, one after the other: without quell, and with it."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        alone = await without_quell(directory, publishes)
        few = await with_quell(directory, publishes, 0)
        many = await with_quell(directory, publishes, policies)
        deaths = await with_deaths(directory, publishes)
    return alone, [few, many], deaths


def main(arguments: Iterable[str] | None = None) -> None:
    """Measures, prints the table, and writes it into the README where asked to."""
    parser = argparse.ArgumentParser(description="frames heard of a forbidden microphone")
    parser.add_argument("--publishes", type=int, default=20)
    parser.add_argument("--policies", type=int, default=10_000, help="the number of policies in the run with many")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args(None if arguments is None else list(arguments))
    # Also where it is ended: the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    alone, quiet, deaths = asyncio.run(measure(options.publishes, options.policies))
    text = table(alone, quiet, deaths)
    print(text)
    if options.write:
        write(REPOSITORY / "README.md", text)
    heard = [run.name for run in quiet if any(run.frames)]
    if heard:
        sys.exit(f"a forbidden microphone was heard {', and '.join(heard)}")
    loud = [frames for frames in deaths.frames if frames]
    if len(loud) > publishes_heard_max(options.publishes) or max(deaths.frames) > DEATH_FRAMES_MAX:
        sys.exit(f"too much was heard where replicas were killed: {deaths.frames}")


if __name__ == "__main__":
    main()
