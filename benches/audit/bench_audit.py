"""How soon the audit answers: every condition of `GET /v1/audit`, and every question of the cookbook, on ten million rows.

    make bench-audit [ARGS="--plans"]

A release build of quell on a Postgres of its own (shared_buffers as Debian has it). Each request is sent six times, and the first is not
counted. The bar of both is 100 ms; what is above it ends with 1.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/e2e"))

import httpx
import psycopg
from support.postgres import Postgres
from support.processes import REPOSITORY
from support.quell import OPERATOR, SECRETS, Quell

BAR_MS = 100
CONDITIONS = [
    "", "tenant=tenant-7", "room_name=room-77", "room_sid=RM_77", "identity=user-77", "track_sid=TR_77", "actor=moderator-77", "on_behalf_of=person-7", "policy_name=policy-7",
    "origin=manual", "origin=webhook", "origin=sweep", "origin=cli", "action=mute", "action=unmute", "action=exempt", "outcome=done", "outcome=failed",
    "outcome=superseded", "outcome=unknown", "outcome=unsettled", "request_id=req-81", "event_id=EV_77", "since=1h", "until=180d",
    "tenant=tenant-7&outcome=failed", "tenant=tenant-7&origin=manual", "tenant=tenant-7&action=unmute&since=30d", "identity=user-77&outcome=failed",
    "room_name=nowhere", "outcome=failed&origin=sweep", "policy_name=policy-7-1&outcome=refused",
]


def took(work) -> float:
    """The median of five, in milliseconds."""
    times = []
    for _ in range(6):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times[1:])


def questions() -> list[tuple[str, str]]:
    """Those of the manual, with their SQL."""
    manual = (REPOSITORY / "docs/AUDIT.md").read_text().split("## Cookbook")[1]
    found = re.findall(r"^#### (.*?)\n.*?```sql\n(.*?)```", manual, re.MULTILINE | re.DOTALL)
    names = {"webinar-1": "room-77", "'ann'": "'user-77'", "'bob'": "'user-77'", "'acme'": "'tenant-7'", "webinar-mics": "policy-7-1"}
    for name, ours in names.items():
        found = [(question, sql.replace(name, ours)) for question, sql in found]
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plans", action="store_true", help="show the plan of each question above the bar")
    options = parser.parse_args()
    above = 0
    with tempfile.TemporaryDirectory() as folder, Postgres(durable=False) as postgres:
        quell = Quell(Path(folder), postgres.new_database())
        quell.command("migrate")
        begun = time.perf_counter()
        with psycopg.connect(quell.database_url, autocommit=True) as connection:
            connection.execute((HERE / "fill.sql").read_text())
            [[rows]] = connection.execute("select count(*) from audit_log").fetchall()
            print(f"{rows:,} rows, filled in {time.perf_counter() - begun:.0f} s", flush=True)
            connection.execute("vacuum audit_log")
            quell.start("http://127.0.0.1:1", QUELL_LOG="error", QUELL_CALLER_REQUESTS_PER_SECOND="10000")
            try:
                http = httpx.Client(base_url=quell.url, headers={"Authorization": f"Bearer {SECRETS[OPERATOR]}"}, timeout=120)
                for condition in CONDITIONS:
                    ms = took(lambda condition=condition: http.get(f"/v1/audit?{condition}").raise_for_status())
                    above += ms > BAR_MS
                    print(f"| `{condition or '(nothing)'}` | {ms:.1f} ms{' ABOVE' if ms > BAR_MS else ''} |", flush=True)
            finally:
                quell.stop()
            connection.execute("set jit = off")
            for question, sql in questions():
                ms = took(lambda sql=sql: connection.execute(sql.encode()).fetchall())
                above += ms > BAR_MS
                print(f"| {question} | {ms:.1f} ms{' ABOVE' if ms > BAR_MS else ''} |", flush=True)
                if ms > BAR_MS and options.plans:
                    for [line] in connection.execute(b"explain (analyze, buffers) " + sql.encode()).fetchall():
                        print(f"      {line}")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
