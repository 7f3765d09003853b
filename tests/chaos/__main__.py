"""Breaks quell's world on purpose, and compares at the end of each round what everybody remembers.

    make chaos [ARGS="..."]          until the bars are met; goes on where the last run ended
    make chaos-short                 one round of two minutes with a fault of each kind
    ... ARGS="--seed 42"             that round again
    make chaos-own-postgres          only quell's own Postgres, killed under full load
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import aiohttp
from check import Disagreement, Verdict, verdict
from cluster import Clusters
from faults import Chaos
from load import Load
from own_postgres import FIRST_ACK_SECONDS_MAX, WHAT, measure
from record import FIRST_ACK_SECONDS, Record, spread
from rig import Site
from schedule import KINDS, Plan, plan
from seen import CallLog, look, under_way

ROUND_SECONDS = 30.0
SHORT_SEED = 1
SHORT_SECONDS = 60.0
ROOMS = 10
PER_SECOND = 100.0
# The longest that LiveKit keeps an event: 30 s in the queue, then 15 s of tries.
QUEUES_SECONDS = 60.0
# A job's deadline, LiveKit's time and 5 s, and then the chore that runs every 5 s.
SETTLE_SECONDS = 60.0
SHOWN_MAX = 10


def say(text: str) -> None:
    """For people who wait."""
    print(f"  {text}", flush=True)


async def run_round(drawn: Plan, clusters: Clusters, folder: Path, rate: float) -> tuple[Record, list[Disagreement]]:
    """One round; returns what it came to, and what does not agree."""
    # Nobody's keep-alive may hold a replica that is gone: LiveKit's client opens as many as it needs.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        site = Site(drawn, folder, clusters, http)
        load = reading = None
        try:
            await site.start()
            calls = CallLog(site.double_url, http)
            reading = asyncio.create_task(calls.follow())
            load = Load(
                site.double_url, http, str(drawn.seed), ROOMS, rate, [replica.quell.url for replica in site.replicas],
                tracks_a_source=drawn.tracks_a_source,
            )
            chaos = Chaos(site, drawn, say)
            load.start()
            await chaos.run()
            await load.stop()
            left = await _settle(site)
            seen = await look(site.url(), site.double_url, http, site.journal, calls, load.tracks, load.rooms)
            (folder / "seen.json").write_text(json.dumps(asdict(seen)))
            found = verdict(seen)
            found.disagreements += [*chaos.done.disagreements, *left]
            return _sums(site, chaos, found, len(seen.calls)), found.disagreements
        finally:
            if reading is not None:
                reading.cancel()
            if load is not None:
                await load.abort()
            await site.stop()


async def _settle(site: Site) -> list[Disagreement]:
    """Everything is healed; waits until nothing is under way."""
    await site.are_up()
    left = []
    deadline = time.monotonic() + QUEUES_SECONDS
    while any(notifier.open for notifier in site.relay.notifiers):
        if time.monotonic() > deadline:
            stuck = sum(notifier.open for notifier in site.relay.notifiers)
            left.append(Disagreement("unanswered", f"{stuck} webhooks, {QUEUES_SECONDS:.0f} s after everything was healed"))
            break
        await asyncio.sleep(0.05)
    deadline = time.monotonic() + SETTLE_SECONDS
    while any((counts := await asyncio.to_thread(under_way, site.url())).values()):
        if time.monotonic() > deadline:
            left.append(Disagreement("under way", f"{counts}, {SETTLE_SECONDS:.0f} s after the last webhook"))
            break
        await asyncio.sleep(0.1)
    return left


def _sums(site: Site, chaos: Chaos, found: Verdict, calls: int) -> Record:
    faults = dict(chaos.done.counts)
    ended = [ended for replica in site.replicas for ended in replica.ended]
    if ended:
        faults["(a start without a database)"] = sum(not end.was_serving for end in ended)
    for end in ended:
        if end.was_serving:
            last = end.said.splitlines()[-1] if end.said else ""
            found.disagreements.append(Disagreement("ended", f"replica {end.replica} ended with {end.code}: {last}"))
    first_ack = {name: list(seconds) for name, seconds in chaos.done.first_ack_seconds.items()}
    restarts = [restart for replica in site.replicas for restart in replica.restarts]
    first_ack["a start"] = [restart.seconds for restart in restarts if restart.is_clean]
    first_ack["a start amid another fault"] = [restart.seconds for restart in restarts if not restart.is_clean]
    kinds: dict[str, int] = {}
    for disagreement in found.disagreements:
        kinds[disagreement.kind] = kinds.get(disagreement.kind, 0) + 1
    return Record(
        faults=faults,
        acknowledged=len(site.journal.acknowledged()),
        given_up=len(site.relay.events.keys() - site.journal.acknowledged().keys()),
        lost=found.lost,
        calls=calls,
        repeats={name: count for name, count in asdict(found.repeats).items() if count},
        disagreements=kinds,
        first_ack_seconds={name: [round(s, 4) for s in seconds] for name, seconds in first_ack.items() if seconds},
    )


def describe(drawn: Plan) -> str:
    """A round, for people."""
    how = "a load balancer" if drawn.is_balanced else "every replica"
    sweeps = "with sweeps" if drawn.sweeps else "without sweeps"
    standby = ", a synchronous standby" if drawn.has_standby else ""
    far = f"LiveKit {drawn.livekit_delay_seconds * 1000:.0f} ms away"
    sweeps += f", up to {drawn.tracks_a_source} tracks of a source" if drawn.tracks_a_source > 1 else ""
    return f"{drawn.replicas} replicas, {far}, it posts to {how}, {sweeps}{standby}"


def one(drawn: Plan, clusters: Clusters, options: argparse.Namespace) -> Record | None:
    """A round, told to people; nothing where it could not be carried out."""
    print(f"seed {drawn.seed}: {describe(drawn)}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix=f"quell-chaos-{drawn.seed}-"))
    result, disagreements = None, []
    try:
        result, disagreements = asyncio.run(run_round(drawn, clusters, folder, options.rate))
    except Exception:
        traceback.print_exc()
    except BaseException:
        # Somebody broke it off: there is nothing to look into.
        shutil.rmtree(folder)
        raise
    if result is not None:
        starts = spread(result.first_ack_seconds.get("a start", []))
        say(
            f"{result.acknowledged:,} events acknowledged, {result.lost} lost, {result.given_up} given up, "
            f"{result.calls:,} mutes called, again {result.repeats or 'none'}; start to first ack {starts}"
        )
    is_late = result is not None and max(result.first_ack_seconds.get("a start", [0.0])) > FIRST_ACK_SECONDS
    if result is None or disagreements or is_late:
        for disagreement in disagreements[:SHOWN_MAX]:
            say(f"{disagreement.kind}: {disagreement.what}")
        if len(disagreements) > SHOWN_MAX:
            say(f"and {len(disagreements) - SHOWN_MAX} more")
        (folder / "disagreements.txt").write_text("".join(f"{d.kind}: {d.what}\n" for d in disagreements))
        for log in clusters.logs.iterdir():
            shutil.copy(log, folder)
        say(f"kept: {folder}")
        say(f"again: make chaos ARGS='{again(drawn, options)}'")
    else:
        shutil.rmtree(folder)
    return result


def again(drawn: Plan, options: argparse.Namespace) -> str:
    """The arguments that draw the same round."""
    words = ["--short"] if options.short else []
    words += ["--seed", str(drawn.seed), "--seconds", f"{options.seconds:g}", "--rate", f"{options.rate:g}"]
    return " ".join([*words, *(["--faults", ",".join(options.faults)] if options.faults else [])])


def arguments(given: Iterable[str] | None) -> argparse.Namespace:
    """Reads them."""
    parser = argparse.ArgumentParser(description="chaos: kills, cuts, black holes, failovers, and what is left of it")
    parser.add_argument("--seed", type=int, help="one round of this seed")
    parser.add_argument("--rounds", type=int, help="as many as this; else until the bars are met")
    parser.add_argument("--seconds", type=float, help="of load, a round")
    parser.add_argument("--rate", type=float, default=PER_SECOND, help="things that happen in rooms, a second")
    parser.add_argument("--short", action="store_true", help="one round with a fault of each kind")
    parser.add_argument("--faults", type=lambda text: text.split(","), default=[], help=f"only these: {','.join(KINDS)}")
    parser.add_argument("--own-postgres", type=int, metavar="KILLS", help="only this: quell's own Postgres, under load")
    parser.add_argument("--record", type=Path, help="where rounds are summed; the next run goes on from it")
    options = parser.parse_args(None if given is None else list(given))
    if unknown := [kind for kind in options.faults if kind not in KINDS]:
        parser.error(f"no such faults: {', '.join(unknown)}")
    if options.short and options.seed is None:
        options.seed = SHORT_SEED
    options.seconds = options.seconds or (SHORT_SECONDS if options.short else ROUND_SECONDS)
    return options


def own_postgres(options: argparse.Namespace, record: Record) -> int:
    """Kills the machine's own Postgres; counts as no round, and takes no seed. 1 where its bar is missed, or one is lost."""
    result, disagreements = asyncio.run(measure(options.own_postgres, say))
    for disagreement in disagreements[:SHOWN_MAX]:
        say(f"{disagreement.kind}: {disagreement.what}")
    record.sum(result)
    if options.record:
        record.write(options.record)
    times = result.first_ack_seconds.get(WHAT, [])
    print(f"acknowledged events {result.acknowledged:,}, lost {result.lost}")
    print(f"first ack after {WHAT}: {spread(times)}; "
          f"the bar is {FIRST_ACK_SECONDS_MAX:g} s and no loss: {'missed' if disagreements else 'met'}")
    return 1 if disagreements else 0


def main(given: Iterable[str] | None = None) -> int:
    """Rounds, one after the other; 1 where something is lost or does not agree."""
    # Whoever is told to end, ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments(given)
    record = Record.read(options.record) if options.record else Record()
    rounds = 1 if options.seed is not None else options.rounds
    seed = options.seed if options.seed is not None else record.next_seed
    if options.own_postgres:
        return own_postgres(options, record)
    status, done = 0, 0
    logs = Path(tempfile.mkdtemp(prefix="quell-chaos-postgres-"))
    clusters = Clusters(logs)
    try:
        clusters.primary.start()
        while (rounds is None and record.bars_left()) or (rounds is not None and done < rounds):
            drawn = plan(seed, options.seconds, options.faults or KINDS, each=options.short)
            result = one(drawn, clusters, options)
            if result is None or result.disagreements:
                status = 1
            if result is None:
                break
            record.add(seed, result)
            if options.record:
                record.write(options.record)
            seed, done = seed + 1, done + 1
    finally:
        clusters.primary.remove()
        shutil.rmtree(logs, ignore_errors=True)
    print(record.text())
    return status


if __name__ == "__main__":
    sys.exit(main())
