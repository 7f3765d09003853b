"""Replicas of quell: killed, started again at once as by a supervisor, and asked until they take an event."""

import asyncio
import json
import random
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import kill as send_signal
from pathlib import Path
from uuid import uuid4

import aiohttp
from cluster import is_there
from notifier import Delivery, Event, Journal, post, sign
from support.processes import Child
from support.quell import Quell, executable

PROBE_PAUSE_SECONDS = 0.005
KEEPER_PAUSE_SECONDS = 0.05
# What a supervisor waits before it starts anew what has ended by itself (systemd: 100 ms).
RESTART_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Restart:
    """From a process's start to its first 2xx."""

    seconds: float
    is_clean: bool
    """Nothing else was wrong meanwhile."""


@dataclass(frozen=True)
class Ended:
    """A replica that ended without having been killed."""

    replica: int
    code: int
    said: str
    was_serving: bool
    """It had taken an event. One that finds no database when it starts ends at once, and is started again."""


class Replica:
    """One of several on the same database."""

    def __init__(
        self,
        number: int,
        directory: Path,
        database_url: str,
        livekit_url: str,
        settings: Mapping[str, str],
        *,
        http: aiohttp.ClientSession,
        journal: Journal,
        calm: Callable[[], int | None],
    ) -> None:
        self.number = number
        self.quell = Quell(directory, database_url, name=f"quell-{number}")
        self.quell.port = lasting_port()
        self.quell.url = f"http://127.0.0.1:{self.quell.port}"
        self.quell.webhook_url = f"{self.quell.url}/livekit/webhook"
        self.restarts: list[Restart] = []
        self.ended: list[Ended] = []
        self.first_ack_at = 0.0
        """On the monotonic clock, of the process that runs; 0: it has taken no event yet."""
        self._directory = directory
        self._environment = self.quell.environment(livekit_url) | dict(settings)
        self._http = http
        self._journal = journal
        self._calm = calm
        """Nothing where something is wrong; else how often something was, until now."""
        self._child: Child | None = None
        self._pids: list[int] = []
        self._probing: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where LiveKit posts to."""
        return self.quell.webhook_url

    def start(self) -> None:
        """Starts it, keeps it running, and asks it until it takes an event."""
        self._spawn()
        self._keeping = asyncio.create_task(self._keep())

    def kill(self) -> None:
        """Ends it where it stands, and starts it again at once."""
        if self._child is not None:
            self._child.kill()
        self._spawn()

    def pause(self) -> None:
        """Stops it in the middle of whatever it does; others take it for dead after 600 ms."""
        if self._child is not None:
            send_signal(self._child.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets it go on."""
        if self._child is not None and is_there(self._child.pid):
            send_signal(self._child.pid, signal.SIGCONT)

    async def stop(self) -> None:
        """Ends it for good."""
        for task in (self._keeping, self._probing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._child is not None:
            self.go_on()
            await asyncio.to_thread(self._child.stop)
        # What libfaketime leaves of a process that is killed.
        for pid in self._pids:
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                (Path("/dev/shm") / name).unlink(missing_ok=True)

    def _spawn(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
        self.first_ack_at = 0.0
        spawned = time.monotonic()
        self._child = Child(self.quell._name, [executable(), "serve"], self._environment, self._directory)
        self._pids.append(self._child.pid)
        self._probing = asyncio.create_task(self._probe(spawned, self._calm()))

    async def _probe(self, spawned: float, calm: int | None) -> None:
        """Sends one event of its own, again and again: LiveKit's waits would hide how soon it is there."""
        self.first_ack_at = await self.ask(probe_event(self.number))
        self.restarts.append(Restart(self.first_ack_at - spawned, calm is not None and calm == self._calm()))

    async def ask(self, event: Event) -> float:
        """Sends an event until it is taken; returns when that was, on the monotonic clock."""
        headers = sign(event.body)
        attempts = 0
        while True:
            attempts += 1
            status, _ = await post(self._http, self.url, event, headers)
            if 200 <= status < 300:
                acked = time.monotonic()
                self._journal.add(Delivery(event, self.number, status, attempts, time.time()))
                return acked
            await asyncio.sleep(PROBE_PAUSE_SECONDS)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEPER_PAUSE_SECONDS)
            if self._child is None or is_there(self._child.pid):
                continue
            self.ended.append(Ended(self.number, self._child.stop(), self._child.tail(), bool(self.first_ack_at)))
            await asyncio.sleep(RESTART_PAUSE_SECONDS)
            self._spawn()


def lasting_port() -> int:
    """A port that is free while its server is down, too: the system gives it to no connection that somebody opens."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(first // 2, first)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def probe_event(number: int) -> Event:
    """Somebody comes into a room that no policy is about, and that the double does not have."""
    event_id, now = f"EV_{uuid4().hex[:12]}", int(time.time())
    told = {
        "event": "participant_joined", "id": event_id, "createdAt": str(now),
        "room": {"sid": f"RM_probe{number}", "name": f"probe-{number}"},
        "participant": {"sid": f"PA_{uuid4().hex[:12]}", "identity": "probe"},
    }
    return Event(json.dumps(told).encode(), event_id, now, "participant_joined", f"probe-{number}", "")
