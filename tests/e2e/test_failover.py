"""Postgres fails over to its synchronous standby: no acknowledged event is lost, and quell is ready soon."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import jwt
import pytest

from support.failover import FollowingProxy, Pair
from support.livekit_server import API_KEY, API_SECRET
from support.postgres import rows
from support.quell import Quell

READY_SECONDS = 5
EVERY_SECONDS = 0.02
# As livekit-server sends a webhook again.
RETRIES_SECONDS = (1, 2, 4, 8)
NOWHERE = "http://127.0.0.1:9"


class Load:
    """Webhooks that LiveKit would send, all the time, and what became of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.acknowledged: dict[str, float] = {}
        self.given_up: list[str] = []
        self.statuses: dict[int, int] = {}
        self.not_ready: list[float] = []
        self.ready: list[float] = []

    async def run(self, over: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=10) as http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(http, over))
            while not over.is_set():
                tasks.create_task(self._send(http))
                await asyncio.sleep(EVERY_SECONDS)

    async def _send(self, http: httpx.AsyncClient) -> None:
        event = {
            "id": f"EV_{uuid4().hex}",
            "event": "participant_joined",
            "createdAt": str(int(time.time())),
            "room": {"sid": "RM_1", "name": "standup"},
            "participant": {"sid": "PA_1", "identity": "ann"},
        }
        body = json.dumps(event).encode()
        now = int(time.time())
        claims = {
            "iss": API_KEY,
            "nbf": now,
            "exp": now + 300,
            "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        }
        headers = {
            "Authorization": jwt.encode(claims, API_SECRET, algorithm="HS256"),
            "Content-Type": "application/webhook+json",
        }
        for pause in (*RETRIES_SECONDS, None):
            answer = await http.post(f"{self._url}/livekit/webhook", content=body, headers=headers)
            self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
            if answer.status_code == 200:
                self.acknowledged[event["id"]] = time.monotonic()
                return
            if pause is not None:
                await asyncio.sleep(pause)
        self.given_up.append(event["id"])

    async def _watch(self, http: httpx.AsyncClient, over: asyncio.Event) -> None:
        while not over.is_set():
            answer = await http.get(f"{self._url}/readyz")
            (self.ready if answer.status_code == 200 else self.not_ready).append(time.monotonic())
            await asyncio.sleep(0.05)


@pytest.fixture
def failing_over(tmp_path: Path) -> Iterator[tuple[Pair, FollowingProxy, Quell]]:
    """A quell on a primary with a synchronous standby, through the proxy."""
    with ExitStack() as stack:
        pair = stack.enter_context(Pair())
        proxy = FollowingProxy(pair)
        stack.callback(proxy.close)
        pair.sql(
            "a",
            "create role quell_owner login createrole",
            "create role quell login",
            "create database quell owner quell_owner",
        )

        def url(login: str) -> str:
            return f"postgres://{login}@127.0.0.1:{proxy.port}/quell?sslmode=disable"

        Quell(tmp_path, url("quell_owner")).command("migrate")
        pair.sql("a", "select quell_grant_service('quell')", database="quell")
        quell = Quell(tmp_path, url("quell"))
        stack.callback(quell.stop)
        quell.start(NOWHERE, QUELL_SWEEP_CRON="off", QUELL_MIGRATE_DATABASE_URL=url("quell_owner"))
        yield pair, proxy, quell


@pytest.mark.parametrize("old", ["killed", "read_only", "cut_off"])
async def test_a_failover_loses_nothing_and_is_over_soon(
    failing_over: tuple[Pair, FollowingProxy, Quell], old: str
) -> None:
    pair, proxy, quell = failing_over
    load, over = Load(quell.url), asyncio.Event()
    running = asyncio.create_task(load.run(over))
    await asyncio.sleep(2)
    assert not load.not_ready
    if old == "killed":
        await asyncio.to_thread(pair.kill_primary)
    elif old == "read_only":
        # Its connections stay, through the proxy as well.
        statements = ("alter system set default_transaction_read_only = on", "select pg_reload_conf()")
        await asyncio.to_thread(pair.sql, "a", *statements)
    # Else it does not know of it: it takes writes, and waits for a standby that is none any more.
    failed_at = time.monotonic()
    promoted_at = await asyncio.to_thread(pair.promote)
    proxy.target = "b"
    await asyncio.sleep(10)
    over.set()
    await running

    stored = {row["event_id"] for row in rows(pair.url("b", "quell"), "select event_id from webhook_event")}
    lost = load.acknowledged.keys() - stored
    assert not lost, lost
    assert not load.given_up
    assert load.statuses.keys() <= {200, 503}, load.statuses
    unready = [at for at in load.not_ready if at > promoted_at]
    # Nothing else is answered after the first of these.
    ready_after = min(at for at in load.ready if at > max(unready, default=promoted_at)) - promoted_at
    first_after = min(at for at in load.acknowledged.values() if at > promoted_at) - promoted_at
    print(
        f"{old}: {len(load.acknowledged)} acknowledged, {load.statuses}; promoted {promoted_at - failed_at:.2f} s after "
        f"the failure; ready {ready_after:.2f} s, first event {first_after:.2f} s after the promotion"
    )
    assert max(load.ready) > promoted_at + 9
    # A commit that waits for the standby is given up after 4.5 s: only then is that one noticed.
    assert ready_after < (READY_SECONDS if old != "cut_off" else READY_SECONDS + 1)
    # Nothing stays at the old one.
    assert old == "killed" or await asyncio.to_thread(_left_behind, pair) == 0


def _left_behind(pair: Pair) -> object:
    """Sessions that did something at the old primary lately, apart from those that it keeps waiting."""
    return pair.ask(
        "a",
        """select count(*) from pg_stat_activity
           where usename = 'quell' and wait_event is distinct from 'SyncRep'
             and query_start > clock_timestamp() - interval '2 s'""",
    )
