"""Does what `schedule.py` drew: begins each fault, heals it, and says what it measured."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from check import Disagreement
from cluster import is_there
from schedule import FAILOVERS, Fault, Plan
from support.proxy import Link, Mode
from rig import Site

POLL_SECONDS = 0.01
# The bar for a failover, and for a Postgres that is back (`own_postgres.py` has quell's own, and its recovery too).
READY_SECONDS = 5.0
NOT_DONE = "not done: no libfaketime here (Debian's package faketime)"
READY_GIVEN_UP_SECONDS = 15.0


@dataclass
class Done:
    """What was done to a site, and how soon it took events again."""

    counts: dict[str, int] = field(default_factory=dict)
    first_ack_seconds: dict[str, list[float]] = field(default_factory=dict)
    disagreements: list[Disagreement] = field(default_factory=list)
    """What took longer than it may."""

    def count(self, kind: str) -> None:
        """One more."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def measured(self, what: str, seconds: float) -> None:
        """How long it was until the first 2xx."""
        self.first_ack_seconds.setdefault(what, []).append(seconds)


class Chaos:
    """What goes wrong at one site."""

    def __init__(self, site: Site, plan: Plan, say: Callable[[str], None]) -> None:
        self.done = Done()
        self._site = site
        self._plan = plan
        self._say = say
        self._began = 0.0
        self._faults_are_done = False
        self._may_kill = asyncio.Event()
        self._may_kill.set()

    async def run(self) -> None:
        """All of the plan; returns when the last fault is healed."""
        self._began = time.monotonic()
        await asyncio.gather(self._kills(), self._faults())

    async def _kills(self) -> None:
        killed = 0
        for fault in self._plan.kills:
            await self._until(fault.at)
            # A new process has new connections: what becomes of the old ones is what a failover asks.
            await self._may_kill.wait()
            assert fault.replica is not None
            replica = self._site.replicas[fault.replica]
            while not (replica.first_ack_at or fault.amount or self._is_over()):
                await asyncio.sleep(POLL_SECONDS)
            if self._is_over():
                break
            replica.kill()
            self.done.count(fault.kind)
            killed += 1
        if killed:
            self._say(f"kill_quell: {killed} times")

    def _is_over(self) -> bool:
        """A slow machine makes fewer kills, not longer rounds."""
        return self._faults_are_done and time.monotonic() > self._began + self._plan.seconds

    async def _faults(self) -> None:
        for fault in self._plan.faults:
            await self._until(fault.at)
            who = "all replicas" if fault.replica is None else f"replica {fault.replica}"
            began = time.monotonic()
            self._site.trouble += 1
            self._site.troubles += 1
            try:
                note = await self._do(fault)
            finally:
                self._site.trouble -= 1
                self._may_kill.set()
            if note != NOT_DONE:
                self.done.count(fault.kind)
            elif os.environ.get("CI") == "true":
                # Nobody reads what a green run has left out.
                self.done.disagreements.append(Disagreement("not done", f"{fault.kind}: {note}"))
            at, took = began - self._began, time.monotonic() - began
            self._say(f"{at:5.1f} s  {fault.kind}, {who}, {took:.1f} s{'; ' + note if note else ''}")

        self._faults_are_done = True

    async def _until(self, at: float) -> None:
        if (wait := self._began + at - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def _do(self, fault: Fault) -> str:
        what, _, where = fault.kind.rpartition("_")
        if where in ("postgres", "livekit") and what != "kill":
            return await self._on_links(what, self._site.links(where, fault.replica), fault)
        if fault.kind == "kill_postmaster":
            return await self._kill_postmaster()
        if fault.kind in FAILOVERS:
            self._may_kill.clear()
        if fault.kind == "failover_killed":
            return await self._fail_over("the primary was killed", self._kill_primary)
        if fault.kind == "failover_read_only":
            return await self._fail_over("the primary became read-only", self._make_read_only)
        assert fault.replica is not None
        if fault.kind == "pause_quell":
            replica = self._site.replicas[fault.replica]
            replica.pause()
            await asyncio.sleep(fault.seconds)
            replica.go_on()
            return ""
        return await self._clock_jump(fault.replica, fault)

    async def _on_links(self, what: str, links: Sequence[Link], fault: Fault) -> str:
        note = ""
        for link in links:
            if what == "half_open":
                note = f"{link.half_open()} connections of the last"
            elif what == "black_hole":
                link.mode = Mode.BLACK_HOLE
            elif what == "delay":
                link.delay_seconds = fault.amount
                note = f"{fault.amount * 1000:.0f} ms each way"
            else:
                note = f"{link.cut()} connections of the last"
                if what == "refuse":
                    link.mode = Mode.REFUSE
        await asyncio.sleep(fault.seconds)
        for link in links:
            link.heal()
        return note

    async def _kill_postmaster(self) -> str:
        cluster = self._site.primary
        orphans = cluster.kill_main()
        killed = time.monotonic()
        while any(is_there(pid) for pid in orphans):
            await asyncio.sleep(POLL_SECONDS)
        ended = time.monotonic()
        cluster.spawn()
        while not await asyncio.to_thread(cluster.answers):
            await asyncio.sleep(POLL_SECONDS)
        ready = time.monotonic()
        # How long its recovery takes is Postgres's own affair, and the disk's; from then on it is quell's.
        note = await self._ready("a killed Postgres answered again", ready)
        return f"orphans ended after {ended - killed:.2f} s, Postgres answers {ready - ended:.2f} s later; {note}"

    async def _ready(self, what: str, since: float) -> str:
        """Measures how soon every replica takes events again, and holds it against the bar."""
        # Who is killed meanwhile is not late.
        self._may_kill.clear()
        acks = await self._site.acks(since, READY_GIVEN_UP_SECONDS)
        told = []
        for number, seconds in enumerate(acks):
            told.append(f"replica {number} " + ("never" if seconds is None else f"{seconds:.2f} s"))
            if seconds is not None:
                self.done.measured(what, seconds)
            if seconds is None or seconds > READY_SECONDS:
                when = f"{READY_GIVEN_UP_SECONDS:.0f} s" if seconds is None else f"until {seconds:.1f} s"
                text = f"replica {number} took no event {when} after {what} (the bar: {READY_SECONDS:.0f} s)"
                self.done.disagreements.append(Disagreement("not ready", text))
        return "first acks: " + ", ".join(told)

    async def _fail_over(self, how: str, end_primary: Callable[[], None]) -> str:
        site = self._site
        if site.standby is None:
            # The failover before used it up.
            await site.add_standby()
        assert site.standby is not None
        began = time.monotonic()
        end_primary()
        await asyncio.to_thread(site.standby.promote)
        old = site.fail_over()
        promoted = time.monotonic()
        note = await self._ready(f"a failover ({how}) began", began)
        # The old one goes for good; until here, what was connected to it was so still.
        if is_there(old.pid):
            await asyncio.to_thread(old.kill_all)
        return f"promoted after {promoted - began:.2f} s; {note}"

    def _kill_primary(self) -> None:
        self._site.primary.kill_all()

    def _make_read_only(self) -> None:
        """What was connected stays so, and can only read any more."""
        old = self._site.primary
        old.execute("alter system set default_transaction_read_only = on")
        old.execute("select pg_reload_conf()")

    async def _clock_jump(self, number: int, fault: Fault) -> str:
        site = self._site
        if not site.set_clock(number, fault.amount):
            return NOT_DONE
        await asyncio.sleep(fault.seconds)
        seen = await site.clock_offset(number)
        site.set_clock(number, 0.0)
        if seen is None:
            return f"{fault.amount:+.0f} s; its clock could not be read (it was killed just before)"
        if abs(seen - fault.amount) > 10:
            raise RuntimeError(f"the clock of replica {number} should be off by {fault.amount} s, and is by {seen}")
        return f"{fault.amount:+.0f} s (its own clock: {seen:+.0f} s)"
