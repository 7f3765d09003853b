"""How long `quell policy backtest` takes over a million published tracks.

    make bench-backtest [ARGS="--events 1000000 --runs 3"]

A Postgres of its own on this machine is filled with a week of tracks (fill.sql), live.yaml is applied
and draft.yaml is tried. What is measured is the whole command, from its start to its report. Beside
it: the same rows read by Postgres's own COPY alone, and what quell says of its own time.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/e2e"))

from support.postgres import Postgres

SECONDS_MAX = 60
READ_ALONE = """
copy (select created_at, received_at, event_id, room_sid, room_name, identity, track_sid, settlement,
             facts::text, decision::text
      from webhook_event where event = 'track_published') to stdout
"""


def quell(database: str, *arguments: str, log: str = "error") -> subprocess.CompletedProcess[str]:
    """Runs quell on the database."""
    env = {"DATABASE_URL": database, "PATH": os.environ["PATH"]}
    env |= {"QUELL_LOG": log, "QUELL_LOG_FORMAT": "json"}
    program = os.environ["QUELL_BIN"]
    return subprocess.run([program, *arguments], env=env, check=True, capture_output=True, text=True)


def fill(database: str, events: int) -> None:
    """A week of published tracks."""
    sql = (HERE / "fill.sql").read_text().replace(":events", str(events))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.encode())
        connection.execute("vacuum analyze webhook_event")
        connection.execute("checkpoint")


def read_alone(database: str) -> float:
    """Seconds that Postgres takes to hand the same rows out."""
    begun = time.monotonic()
    with psycopg.connect(database) as connection, connection.cursor().copy(READ_ALONE) as rows:
        for _ in rows:
            pass
    return time.monotonic() - begun


def backtest(database: str) -> tuple[float, int, str]:
    """Seconds of one backtest, the tracks that it was over, and where it says the time went."""
    draft = str(HERE / "draft.yaml")
    begun = time.monotonic()
    done = quell(
        database, "policy", "backtest", "--file", draft, "--since", "8d", "--format", "json", log="error,quell::backtest=debug"
    )
    took = time.monotonic() - begun
    times = re.search(r"times=.*?Times \{ (.*?) \}", done.stderr)
    return took, json.loads(done.stdout)["published"]["tracks"], times.group(1) if times else done.stderr


def measure(events: int, runs: int) -> bool:
    """Prints what each run took; whether the slowest of them was fast enough."""
    with Postgres() as postgres:
        database = postgres.new_database()
        quell(database, "migrate")
        quell(database, "policy", "apply", str(HERE / "live.yaml"))
        begun = time.monotonic()
        fill(database, events)
        print(f"filled with {events:,} tracks in {time.monotonic() - begun:.0f} s", file=sys.stderr)
        print(f"the rows alone, by COPY: {read_alone(database):.1f} s")
        slowest = 0.0
        for run in range(runs):
            took, tracks, times = backtest(database)
            if tracks != events:
                raise RuntimeError(f"{tracks} of {events} tracks were found")
            print(f"backtest {run + 1}: {took:.1f} s, {tracks / took:,.0f} tracks a second; {times}")
            slowest = max(slowest, took)
    return slowest * 1_000_000 / events < SECONDS_MAX


def main(arguments: Iterable[str] | None = None) -> None:
    """Measures; fails where a million tracks would take a minute or more."""
    parser = argparse.ArgumentParser(description="time of a backtest over many tracks")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(None if arguments is None else list(arguments))
    if not measure(options.events, options.runs):
        sys.exit(f"a million tracks take {SECONDS_MAX} s or more")


if __name__ == "__main__":
    main()
