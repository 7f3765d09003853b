"""The same seed draws the same round; sums are sums; a proxy does what it says; a notifier waits as LiveKit's."""

import asyncio
import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import aiohttp
import notifier
import pytest
from aiohttp import web
from check import Disagreement
from faults import Chaos
from notifier import Event, Journal, Notifier
from record import Record, loss_rate_max, percentile
from rig import Site
from schedule import CLOCK_JUMP_MAX_SECONDS, FAILOVERS, FAULTS, KINDS, Fault, plan
from support.proxy import Link, Mode, Target


def test_the_same_seed_draws_the_same_round() -> None:
    assert plan(42, 30) == plan(42, 30)
    assert plan(42, 30, each=True) == plan(42, 30, each=True)
    assert plan(42, 30) != plan(43, 30)


def test_rounds_are_as_they_are_drawn() -> None:
    for seed in range(200):
        drawn = plan(seed, 30)
        assert 2 <= drawn.replicas <= 3
        assert sum(fault.kind in FAILOVERS for fault in drawn.faults) <= 1
        for fault in (*drawn.kills, *drawn.faults):
            assert fault.replica is None or fault.replica < drawn.replicas
            assert fault.kind != "clock_jump" or abs(fault.amount) <= CLOCK_JUMP_MAX_SECONDS
        for before, after in zip(drawn.faults, drawn.faults[1:], strict=False):
            assert before.at + before.seconds <= after.at


def test_the_short_form_has_a_fault_of_each_kind() -> None:
    drawn = plan(1, 60, each=True)
    assert sorted(fault.kind for fault in drawn.faults) == sorted(FAULTS)
    assert drawn.kills


@pytest.mark.parametrize(("ci", "disagreements"), [("true", 1), ("", 0)])
def test_a_fault_that_cannot_be_made_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, disagreements: int
) -> None:
    monkeypatch.setenv("CI", ci)
    site = SimpleNamespace(trouble=0, troubles=0, set_clock=lambda replica, seconds: False)
    drawn = replace(plan(1, 0, ()), faults=[Fault("clock_jump", 0, 0, 0, 1)], seconds=0)
    chaos = Chaos(cast(Site, site), drawn, print)
    asyncio.run(chaos.run())
    assert len(chaos.done.disagreements) == disagreements
    assert not chaos.done.counts


@pytest.mark.parametrize(("disagreements", "status"), [([], 0), ([Disagreement("not ready", "after 5.10 s")], 1)])
def test_a_missed_bar_of_the_own_postgres_is_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, disagreements: list[Disagreement], status: int
) -> None:
    chaos = runpy.run_path(str(Path(__file__).with_name("__main__.py")), run_name="chaos")

    async def measure(kills: int, say: object) -> tuple[Record, list[Disagreement]]:
        return Record(), disagreements

    monkeypatch.setitem(chaos["own_postgres"].__globals__, "measure", measure)
    assert chaos["own_postgres"](chaos["arguments"](["--own-postgres", "1"]), Record()) == status


def test_only_what_is_asked_for_is_drawn() -> None:
    assert {fault.kind for fault in plan(1, 30, ("kill_quell", "cut_postgres")).faults} == {"cut_postgres"}
    assert not plan(1, 30, ("cut_postgres",)).kills
    assert set(KINDS) == {"kill_quell", *FAULTS}


def a_round(**other: object) -> Record:
    usual: dict[str, object] = {
        "faults": {"kill_quell": 30, "cut_postgres": 1}, "acknowledged": 1000, "calls": 300,
        "first_ack_seconds": {"a start": [0.1, 0.2]},
    }
    return Record(**(usual | other))  # type: ignore[arg-type]


def test_rounds_are_summed_over_runs(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    for seed, one in enumerate((a_round(), a_round(lost=1, disagreements={"lost": 1}), a_round()), start=7):
        # Each in a run of its own.
        record = Record.read(file)
        record.add(seed, one)
        record.write(file)
    record = Record.read(file)
    assert (record.rounds, record.next_seed, record.failed_seeds) == (3, 10, [8])
    assert (record.acknowledged, record.lost, record.calls) == (3000, 1, 900)
    assert record.faults == {"kill_quell": 90, "cut_postgres": 3}
    assert record.first_ack_seconds == {"a start": [0.1, 0.2] * 3}
    assert record.bars_left() == {"kill_quell": 910, "kill_postmaster": 100, "cut": 97}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_the_bars_are_met_at_last() -> None:
    record = Record(faults={"kill_quell": 1000, "kill_postmaster": 100, "cut_postgres": 60, "cut_livekit": 40})
    assert record.bars_left() == {}


def test_the_upper_bound_is_clopper_and_pearsons() -> None:
    # Without a loss about 3 / n (the rule of three); others by the quantiles of the beta distribution.
    assert loss_rate_max(0, 1000) == pytest.approx(0.0029912, abs=1e-6)
    assert loss_rate_max(1, 1000) == pytest.approx(0.0047347, abs=1e-6)
    assert loss_rate_max(5, 100) == pytest.approx(0.1022534, abs=1e-6)
    assert loss_rate_max(0, 0) == loss_rate_max(3, 3) == 1.0


def test_percentiles_are_measured_ones() -> None:
    assert [percentile([4.0, 1.0, 3.0, 2.0], share) for share in (0.5, 0.99, 1.0)] == [2.0, 4.0, 4.0]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def _through(fault: Callable[[Link], object], heal_first: bool) -> tuple[bytes | str, bytes | str]:
    """What comes of a byte on a connection that was there before the fault, and on a new one."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, Link("link", Target(port=server.sockets[0].getsockname()[1])) as link:
        old = await asyncio.open_connection("127.0.0.1", link.port)
        old[1].write(b"0")
        assert await old[0].readexactly(1) == b"0"
        fault(link)

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | str:
            try:
                writer.write(b"1")
                async with asyncio.timeout(0.2):
                    return await reader.read(1) or "closed"
            except TimeoutError:
                return "silence"
            except ConnectionError:
                return "reset"
            finally:
                writer.close()

        if heal_first:
            old[1].write(b"1")
            await old[1].drain()
            link.heal()
            return await ask(*old), await ask(*await asyncio.open_connection("127.0.0.1", link.port))
        return await ask(*old), await ask(*await asyncio.open_connection("127.0.0.1", link.port))


@pytest.mark.parametrize(
    ("fault", "old", "new"),
    [
        (lambda link: None, b"1", b"1"),
        (Link.cut, "reset", b"1"),
        (Link.half_open, "silence", b"1"),
        (lambda link: setattr(link, "mode", Mode.BLACK_HOLE), "silence", "silence"),
        (lambda link: setattr(link, "mode", Mode.REFUSE), b"1", "reset"),
        (lambda link: setattr(link, "delay_seconds", 0.15), "silence", "silence"),
    ],
)
def test_a_link_does_to_connections_what_it_is_told(
    fault: Callable[[Link], object], old: bytes | str, new: bytes | str
) -> None:
    assert asyncio.run(_through(fault, heal_first=False)) == (old, new)


@pytest.mark.parametrize(
    ("fault", "old"),
    [(Link.half_open, "reset"), (lambda link: setattr(link, "mode", Mode.BLACK_HOLE), b"1")],
)
def test_what_a_black_hole_swallowed_comes_late_and_what_is_half_open_is_reset(
    fault: Callable[[Link], object], old: bytes | str
) -> None:
    assert asyncio.run(_through(fault, heal_first=True)) == (old, b"1")


@pytest.mark.parametrize(
    ("statuses", "attempts", "acknowledged", "given_up", "refused"),
    [
        ([200], 1, 1, 0, 0),
        ([503, 500, 429, 503, 200], 5, 1, 0, 0),
        ([503, 503, 503, 503, 503, 200], 5, 0, 1, 0),
        ([401, 200], 1, 0, 0, 1),
        ([501, 200], 1, 0, 0, 1),
    ],
)
def test_a_notifier_tries_as_livekits_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    statuses: list[int], attempts: int, acknowledged: int, given_up: int, refused: int,
) -> None:
    assert notifier.RETRY_WAITS_SECONDS == (1, 2, 4, 8)
    monkeypatch.setattr(notifier, "RETRY_WAITS_SECONDS", (0.01, 0.01, 0.01, 0.01))
    left, bodies = list(statuses), []

    async def answer(request: web.Request) -> web.Response:
        bodies.append((request.headers["Authorization"], await request.read()))
        return web.Response(status=left.pop(0))

    async def send() -> Journal:
        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        journal = Journal(tmp_path / "journal.jsonl")
        told = {"id": "EV_1", "createdAt": "1", "event": "track_published", "room": {"name": "r"}}
        async with aiohttp.ClientSession() as http:
            one = Notifier(journal, http, lambda: (0, f"http://127.0.0.1:{runner.addresses[0][1]}/"))
            one.queue(Event.read(json.dumps(told).encode()))
            async with asyncio.timeout(5):
                while one.open:
                    await asyncio.sleep(0.01)
        await runner.cleanup()
        journal.close()
        return journal

    journal = asyncio.run(send())
    # It is signed once.
    assert len(bodies) == attempts and len(set(bodies)) == 1
    assert len(journal.acknowledged()) == acknowledged
    assert len(journal.given_up()) == given_up
    assert len(journal.refused()) == refused
    [line] = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert json.loads(line)["status"] == statuses[attempts - 1]
