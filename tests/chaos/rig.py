"""What is put to the test: Postgres, the LiveKit double, replicas of quell, and links between them.

    driver --webhooks--> replicas --links--> Postgres (and a standby)
      ^                     +------links--> double of LiveKit
      +-----webhooks--------------------------+
"""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import aiohttp
from cluster import Cluster, Clusters
from load import POLICIES
from notifier import Journal, Notifier, Relay
from replicas import Replica, probe_event
from schedule import Plan
from support.processes import Child, free_port
from support.proxy import Link, Target
from support.quell import clean_environment, executable

LIVEKIT_TIMEOUT_MS = "2000"
# A track of whose end LiveKit gave the event up is waited for as long as this.
JOB_DEADLINE_SECONDS = "40"
ACK_POLL_SECONDS = 0.01


def faketime_library() -> Path | None:
    """Debian's libfaketime, wherever this machine's architecture has it."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class Site:
    """One round's."""

    def __init__(self, plan: Plan, folder: Path, clusters: Clusters, http: aiohttp.ClientSession) -> None:
        self.plan = plan
        self.folder = folder
        self._clusters = clusters
        self.standby: Cluster | None = None
        self.retired: list[Cluster] = []
        """Primaries of before: what runs of them is nobody's any more."""
        self.database = ""
        self.replicas: list[Replica] = []
        self.relay = Relay()
        self.journal = Journal(folder / "journal.jsonl")
        self.trouble = self.troubles = 0
        """How many faults are in force, and have been, but for kills of quell."""
        self.double_url = ""
        self._http = http
        self._double: Child | None = None
        self._links: dict[str, list[Link]] = {"postgres": [], "livekit": []}
        self._balanced = 0

    @property
    def primary(self) -> Cluster:
        """What the database is on."""
        return self._clusters.primary

    async def start(self) -> None:
        """Everything; returns when every replica has taken an event."""
        self.database = self.primary.new_database()
        await self.relay.start()
        self._start_double()
        double = Target(port=int(self.double_url.rsplit(":", 1)[1]))
        for number in range(self.plan.replicas):
            postgres = Link(f"postgres-{number}", self.primary.socket)
            livekit = Link(f"livekit-{number}", double, delay_seconds=self.plan.livekit_delay_seconds)
            self._links["postgres"].append(await postgres.__aenter__())
            self._links["livekit"].append(await livekit.__aenter__())
        for number in range(self.plan.replicas):
            self.replicas.append(self._replica(number))
        await asyncio.to_thread(self._prepare)
        if self.plan.has_standby:
            await self.add_standby()
        for replica in self.replicas:
            replica.start()
        await self.are_up()
        self.relay.notifiers = self._notifiers()

    async def stop(self) -> None:
        """Ends everything but the primary."""
        for notifier in self.relay.notifiers:
            await notifier.stop()
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        await self.relay.stop()
        for link in [*self._links["postgres"], *self._links["livekit"]]:
            await link.__aexit__(None, None, None)
        if self._double is not None:
            self._double.stop()
        for cluster in [*self.retired, *([self.standby] if self.standby else [])]:
            await asyncio.to_thread(cluster.remove)
        if self.database and await asyncio.to_thread(self.primary.answers):
            await asyncio.to_thread(self.primary.drop_database, self.database)
        self.journal.close()

    def url(self) -> str:
        """The database, past the proxy."""
        return self.primary.url(self.database)

    def links(self, where: str, replica: int | None) -> Sequence[Link]:
        """Those of one replica, or of all."""
        return self._links[where] if replica is None else [self._links[where][replica]]

    async def are_up(self, seconds: float = 60) -> None:
        """Waits until every replica has taken an event since it was started."""
        deadline = time.monotonic() + seconds
        while not all(replica.first_ack_at for replica in self.replicas):
            if time.monotonic() > deadline:
                down = [replica.number for replica in self.replicas if not replica.first_ack_at]
                raise TimeoutError(f"replicas {down} take no event, {seconds} s after everything was healed")
            await asyncio.sleep(ACK_POLL_SECONDS)

    async def acks(self, since: float, seconds: float) -> list[float | None]:
        """How soon after `since` each replica took an event of our own; none: not within `seconds`."""

        async def ask(replica: Replica) -> float | None:
            try:
                async with asyncio.timeout(seconds):
                    return await replica.ask(probe_event(replica.number)) - since
            except TimeoutError:
                return None

        return list(await asyncio.gather(*(ask(replica) for replica in self.replicas)))

    async def add_standby(self) -> None:
        """A synchronous standby of the primary of now."""
        name = f"standby_{self.plan.seed}_{len(self.retired)}"
        standby = await asyncio.to_thread(partial(Cluster, name, self._clusters.logs, copy_of=self.primary))
        self.standby = standby
        # Here: it ends with the thread that starts it (prctl(2), PR_SET_PDEATHSIG), and may be the primary of later rounds.
        standby.spawn()
        await asyncio.to_thread(standby.wait_until_ready)
        await asyncio.to_thread(self.primary.follow_synchronously, standby)

    def fail_over(self) -> Cluster:
        """From now on the standby is the primary; returns the old one, whose connections are left as they are."""
        assert self.standby is not None
        old, self._clusters.primary, self.standby = self.primary, self.standby, None
        self.retired.append(old)
        for link in self.links("postgres", None):
            link.target = self.primary.socket
        return old

    def set_clock(self, replica: int, seconds: float) -> bool:
        """Puts a replica's clock forward or back; false where that cannot be done."""
        if faketime_library() is None:
            return False
        draft = self.folder / "clock.new"
        draft.write_text(f"{seconds:+.0f}\n")
        draft.replace(self._clock_file(replica))
        return True

    async def clock_offset(self, replica: int) -> float | None:
        """How far a replica's clock is off, by what it says itself: it notes when it did a chore."""
        pattern = r'quell_maintenance_last_success_timestamp_seconds{chore="close_overdue_intents"} (\S+)'
        try:
            async with self._http.get(f"{self.replicas[replica].quell.url}/metrics") as answer:
                found = re.search(pattern, await answer.text())
        except (aiohttp.ClientError, OSError):
            return None
        noted = float(found[1]) if found else 0.0
        return noted - time.time() if noted else None

    def _clock_file(self, replica: int) -> Path:
        return self.folder / f"clock-{replica}"

    def _start_double(self) -> None:
        port = free_port()
        self.double_url = f"http://127.0.0.1:{port}"
        command = [
            executable(), "simulator", "--port", str(port), "--webhook-url", self.relay.url, "--enable-remote-unmute",
        ]
        self._double = Child("double", command, clean_environment(), self.folder)
        self._double.wait_until(lambda: "control API" in self._double_log())

    def _double_log(self) -> str:
        return "" if self._double is None else self._double.log.read_text(errors="replace")

    def _replica(self, number: int) -> Replica:
        postgres, livekit = self._links["postgres"][number], self._links["livekit"][number]
        settings = {
            "QUELL_LIVEKIT_TIMEOUT_MS": LIVEKIT_TIMEOUT_MS,
            "QUELL_JOB_DEADLINE_SECONDS": JOB_DEADLINE_SECONDS,
            "QUELL_SWEEP_CRON": "*/10 * * * * *" if self.plan.sweeps else "off",
        }
        library = faketime_library()
        if number == self.plan.clock_replica and library is not None:
            self.set_clock(number, 0.0)
            settings |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock_file(number)),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return Replica(
            number, self.folder, f"postgres://postgres@127.0.0.1:{postgres.port}/{self.database}",
            f"http://127.0.0.1:{livekit.port}", settings,
            http=self._http, journal=self.journal, calm=lambda: None if self.trouble else self.troubles,
        )

    def _prepare(self) -> None:
        quell = self.replicas[0].quell
        quell.command("migrate")
        file = self.folder / "policies.yaml"
        # YAML, which JSON is.
        file.write_text(json.dumps({"policies": POLICIES}))
        quell.command("policy", "apply", file)

    def _notifiers(self) -> list[Notifier]:
        if self.plan.is_balanced:
            return [Notifier(self.journal, self._http, self._balance)]
        return [
            Notifier(self.journal, self._http, lambda replica=replica: (replica.number, replica.url))
            for replica in self.replicas
        ]

    def _balance(self) -> tuple[int, str] | None:
        """A load balancer that sends nothing to who is known to be down: the next one that has taken an event."""
        alive = [replica for replica in self.replicas if replica.first_ack_at]
        if not alive:
            return None
        self._balanced += 1
        replica = alive[self._balanced % len(alive)]
        return replica.number, replica.url
