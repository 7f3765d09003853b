"""quell's own Postgres, killed under full load: how long after its last backend's end are events taken again?

Without DATABASE_URL, `quell serve` starts Postgres and starts it again. Recovery reads what was written since the last
checkpoint, so events are large, and max_wal_size is what bounds that. Every 2xx is looked up at the end.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import aiohttp
import psycopg
from check import Disagreement
from cluster import children, is_there
from notifier import Event, post, sign
from record import Record
from replicas import probe_event
from support.livekit_server import API_KEY, API_SECRET
from support.processes import Child, free_port
from support.quell import clean_environment, executable

MAX_WAL_SIZE = "256MB"
# Random, so that it cannot be compressed: what a participant's attributes may be is 64 KiB.
BODY_BYTES = 24_000
SENDERS = 48
# quell ends with the sixth end within a minute: kills are further apart.
LOAD_SECONDS = 13.0
FIRST_ACK_SECONDS_MAX = 5.0
GIVEN_UP_SECONDS = 90.0
POLL_SECONDS = 0.005
WHAT = "the last orphan of quell's own Postgres ended, under load"


def large_event(room: str) -> Event:
    """Somebody comes, with much metadata."""
    event_id, now = f"EV_{uuid4().hex[:12]}", int(time.time())
    told = {
        "event": "participant_joined", "id": event_id, "createdAt": str(now), "room": {"sid": f"RM_{room}", "name": room},
        "participant": {"sid": f"PA_{uuid4().hex[:12]}", "identity": "x", "metadata": os.urandom(BODY_BYTES // 2).hex()},
    }
    return Event(json.dumps(told).encode(), event_id, now, "participant_joined", room, "")


class OwnPostgres:
    """One quell with the machine's own Postgres in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        self.acknowledged: list[str] = []
        self.sent_bytes = 0
        self._data = folder / "pg"
        self._logs = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/livekit/webhook"
        self._env = clean_environment() | {
            "QUELL_PG_DATA": str(self._data), "HOST": "127.0.0.1", "PORT": str(self._port),
            "LIVEKIT_URL": f"http://127.0.0.1:{free_port()}", "LIVEKIT_API_KEY": API_KEY, "LIVEKIT_API_SECRET": API_SECRET,
            "QUELL_SWEEP_CRON": "off", "QUELL_LOG": "warn,quell::postgres=info",
        }
        self._child: Child | None = None

    def start(self) -> None:
        """Makes the data folder, sets what it is about, and serves."""
        subprocess.run([executable(), "migrate"], env=self._env, check=True, capture_output=True, timeout=120)
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(f"max_wal_size = '{MAX_WAL_SIZE}'\n")
        self._child = Child("quell", [executable(), "serve"], self._env, self._logs)

    def stop(self) -> None:
        """Ends quell, and its Postgres with it."""
        if self._child is not None:
            self._child.stop()

    def postmaster(self) -> int:
        """The id of Postgres's main process."""
        return int((self._data / "postmaster.pid").read_text().split("\n")[0])

    def connect(self) -> psycopg.Connection:
        """As its owner, by the socket that its own notes name."""
        lines = (self._data / "postmaster.pid").read_text().split("\n")
        return psycopg.connect(
            f"postgres://quell_owner@localhost:{lines[3]}/quell?host={lines[4]}", autocommit=True, connect_timeout=5
        )

    async def send(self, http: aiohttp.ClientSession, until: asyncio.Event) -> None:
        """One sender: the next event as soon as the last one is answered."""
        room = uuid4().hex[:8]
        while not until.is_set():
            event = large_event(room)
            status, _ = await post(http, self.url, event, sign(event.body))
            if 200 <= status < 300:
                self.acknowledged.append(event.id)
                self.sent_bytes += len(event.body)
            else:
                await asyncio.sleep(0.05)

    async def first_ack(self, http: aiohttp.ClientSession) -> float | None:
        """When it takes the next event, asked again and again."""
        event = probe_event(0)
        headers = sign(event.body)
        deadline = time.monotonic() + GIVEN_UP_SECONDS
        while time.monotonic() < deadline:
            status, _ = await post(http, self.url, event, headers)
            if 200 <= status < 300:
                self.acknowledged.append(event.id)
                return time.monotonic()
            await asyncio.sleep(POLL_SECONDS)
        return None

    def missing(self) -> list[str]:
        """Acknowledged events that are not stored."""
        with self.connect() as connection:
            stored = {str(row[0]) for row in connection.execute("select event_id from webhook_event")}
        return [event_id for event_id in self.acknowledged if event_id not in stored]

    def setting(self, name: str) -> str:
        """What Postgres runs with."""
        with self.connect() as connection:
            [(value,)] = connection.execute("select current_setting(%s)", (name,)).fetchall()
        return str(value)


async def measure(kills: int, say: Callable[[str], None]) -> tuple[Record, list[Disagreement]]:
    """Kills its main process `kills` times; returns the times, and what is lost or too late."""
    # The user that Postgres runs as has to get in.
    folder = Path(tempfile.mkdtemp(prefix="quell-chaos-own."))
    folder.chmod(0o755)
    own = OwnPostgres(folder)
    disagreements: list[Disagreement] = []
    times: list[float] = []
    try:
        await asyncio.to_thread(own.start)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            if await own.first_ack(http) is None:
                raise RuntimeError("quell does not start with its own Postgres")
            say(f"max_wal_size {own.setting('max_wal_size')}, shared_buffers {own.setting('shared_buffers')}")
            until = asyncio.Event()
            senders = [asyncio.create_task(own.send(http, until)) for _ in range(SENDERS)]
            for _ in range(kills):
                before, bytes_before = len(own.acknowledged), own.sent_bytes
                await asyncio.sleep(LOAD_SECONDS)
                rate = (len(own.acknowledged) - before) / LOAD_SECONDS
                mib = (own.sent_bytes - bytes_before) / LOAD_SECONDS / 2**20
                took = await _kill(own, http)
                if took is None or took[1] > FIRST_ACK_SECONDS_MAX:
                    text = "none" if took is None else f"after {took[1]:.2f} s"
                    disagreements.append(Disagreement("not ready", f"first ack after {WHAT}: {text}"))
                if took is None:
                    break
                times.append(took[1])
                say(f"at {rate:.0f} events a second ({mib:.0f} MiB): orphans ended after {took[0]:.2f} s, first ack {took[1]:.2f} s later")
            until.set()
            await asyncio.gather(*senders)
        lost = await asyncio.to_thread(own.missing)
        disagreements += [Disagreement("lost", f"{event_id} was answered 2xx and is not stored") for event_id in lost]
    finally:
        await asyncio.to_thread(own.stop)
        if disagreements:
            shutil.rmtree(folder / "pg", ignore_errors=True)
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    kinds: dict[str, int] = {}
    for disagreement in disagreements:
        kinds[disagreement.kind] = kinds.get(disagreement.kind, 0) + 1
    return (
        Record(
            faults={"kill_own_postmaster": len(times)}, acknowledged=len(own.acknowledged), lost=len(lost),
            disagreements=kinds, first_ack_seconds={WHAT: [round(seconds, 4) for seconds in times]},
        ),
        disagreements,
    )


async def _kill(own: OwnPostgres, http: aiohttp.ClientSession) -> tuple[float, float] | None:
    """Seconds until its last backend had ended, and from then to the first 2xx."""
    pid = own.postmaster()
    orphans = children(pid)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    asking = asyncio.create_task(own.first_ack(http))
    while any(is_there(orphan) for orphan in orphans):
        await asyncio.sleep(POLL_SECONDS)
    ended = time.monotonic()
    acked = await asking
    if acked is None:
        return None
    return ended - killed, max(0.0, acked - ended)
