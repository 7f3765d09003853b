"""One busy room behind the notifier of the real livekit-server: how many of its events are dropped.

    make bench-notifier [ARGS="--seconds 60 --events 200"]

LiveKit keeps one queue a room, 200 deep, with one delivery in flight: what does not fit is lost. The notifier is
LiveKit's own code (Go, `github.com/livekit/protocol/webhook`, as the server has it), fed by quell's double of the rest.
Beside quell stands a receiver that answers at once ("none"), in the same run.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/e2e"))

import aiohttp
from support.postgres import Postgres, rows
from support.processes import Child, free_port
from support.quell import Quell, executable

PUBLISHERS = 100
POLICIES = [{"name": "mics", "owner": "acme", "match": {"source": ["MICROPHONE"]}, "effect": "mute"}]


class Room:
    """A room whose people publish a microphone and take it back, over and over."""

    def __init__(self, http: aiohttp.ClientSession, double: str, directory: Path, target: str) -> None:
        self._http, self._sim, self._directory, self._target = http, f"{double}/_sim", directory, target
        self.published = 0

    async def _do(self, verb: str, path: str, body: object = None) -> dict[str, object]:
        async with self._http.request(verb, f"{self._sim}{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return json.loads(await answer.read() or "null")

    async def open(self) -> None:
        await self._do("PUT", "/rooms/stage", {"metadata": json.dumps({"auth_id": "acme"})})
        for number in range(PUBLISHERS):
            await self._do("POST", "/rooms/stage/participants", {"identity": f"p{number}"})

    async def _turn(self, number: int, every: float) -> None:
        """One track, for half of the time between two of the same participant."""
        path = f"/rooms/stage/participants/p{number % PUBLISHERS}/tracks"
        track = await self._do("POST", path, {"source": "MICROPHONE", "type": "AUDIO"})
        self.published += 1
        await asyncio.sleep(every / 2)
        await self._do("DELETE", f"{path}/{track['sid']}")

    async def speak(self, events_a_second: float, seconds: float) -> None:
        """Two events a turn."""
        clock = asyncio.get_running_loop().time
        begun, turns = clock(), []
        for number in range(int(events_a_second / 2 * seconds)):
            await asyncio.sleep(max(0, begun + number / (events_a_second / 2) - clock()))
            turns.append(asyncio.create_task(self._turn(number, PUBLISHERS / (events_a_second / 2))))
        await asyncio.gather(*turns)


def told(name: str, figures: dict[str, object]) -> str:
    """What became of the events."""
    sending, waiting = figures["sending"], figures["waiting"]
    at = lambda values, part: values[min(len(values) - 1, int(len(values) * part))]  # noqa: E731
    return (f"{name:8} {figures['queued']:6} queued, {figures['accepted']:6} accepted, {figures['dropped']:4} dropped, "
            f"{sum(figures['failed'].values())} failed; a delivery p50 {at(sending, 0.5):.2f} p99 {at(sending, 0.99):.2f} "
            f"max {at(sending, 1):.1f} ms; before it in the queue p99 {at(waiting, 0.99):.1f} max {at(waiting, 1):.1f} ms")


async def measured(directory: Path, name: str, quell: Quell | None, double_port: int, options: argparse.Namespace) -> None:
    """A room at work, its events delivered to quell, or to a receiver that does nothing."""
    double = f"http://127.0.0.1:{double_port}"
    target = quell.webhook_url if quell else "quiet"
    relay = Child(f"notifier-{name}", [options.notifier, target], dict(os.environ), directory)
    relay.wait_until(lambda: relay.log.read_text().strip().isdigit())
    url = f"http://127.0.0.1:{relay.log.read_text().strip()}"
    simulator = Child(f"simulator-{name}", [executable(), "simulator", "--port", str(double_port), "--webhook-url", f"{url}/webhook"],
                      dict(os.environ), directory)
    try:
        simulator.wait_until(lambda: "listen" in simulator.log.read_text() or str(double_port) in simulator.log.read_text())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            room = Room(http, double, directory, target)
            await room.open()
            await asyncio.sleep(1)
            async with http.get(url) as answer:
                await answer.read()
            await room.speak(options.events, options.seconds)
            await asyncio.sleep(1)
            async with http.get(url) as answer:
                print(told(name, await answer.json(content_type=None)), flush=True)
            if quell:
                [found] = rows(quell.database_url,
                               "select count(*) filter (where settlement = 'muted') as muted, count(*) as told,"
                               " (percentile_cont(0.99) within group (order by extract(epoch from settled_at - received_at)) * 1000)::float as p99"
                               " from webhook_event where event = 'track_published'")
                print(f"{'':8} {room.published} published, {found['told']} told of, {found['muted']} muted and written down, p99 {found['p99']:.1f} ms after they came",
                      flush=True)
    finally:
        simulator.stop()
        relay.stop()


async def main() -> None:
    """Without quell, then with it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=float, default=200, help="a second, in the one room")
    parser.add_argument("--notifier", type=Path, required=True, help="the program of main.go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Postgres(durable=True) as postgres:
        directory = Path(folder)
        print(f"{options.events:.0f} events a second of one room, for {options.seconds:.0f} s", flush=True)
        await measured(directory, "none", None, free_port(), options)
        quell, port = Quell(directory, postgres.new_database()), free_port()
        policies = directory / "policies.yaml"
        policies.write_text(json.dumps({"policies": POLICIES}))
        quell.start(f"http://127.0.0.1:{port}", policies, QUELL_SWEEP_CRON="off", QUELL_LOG="warn")
        try:
            await measured(directory, "quell", quell, port, options)
        finally:
            quell.stop()


if __name__ == "__main__":
    asyncio.run(main())
