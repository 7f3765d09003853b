"""A thousand microphones a second: how soon quell mutes and answers under load, beside baselines.

    make bench [ARGS="--only forbidden --seconds 10 --write"]

Postgres (which syncs to disk), quell, and the driver with the LiveKit double in it share this machine.
The baselines run between the measurements: pgbench's single-row inserts into the same table, and a
bare axum handler that reads the body. With each run stands the CPU that each process took.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/e2e"))

import httpx
from support.postgres import Postgres, rows
from support.processes import Child, free_port
from support.quell import Quell, clean_environment

DRIVER = REPOSITORY / "target/release/quell-load"
MARKERS = ("<!-- load -->", "<!-- /load -->")
TICKS = os.sysconf("SC_CLK_TCK")
PGBENCH = HERE / "pgbench.sql"
# The double has tracks before their webhooks are sent: a sweep would mute them.
SETTINGS = {"QUELL_LOG": "warn", "QUELL_JOB_DEADLINE_SECONDS": "20", "QUELL_SWEEP_CRON": "off"}
KILLED_ROUNDS = 10
INGEST_ROUNDS = 5


@dataclass
class Measured:
    """What one run gave."""

    name: str
    goal: str
    said: dict[str, object]
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of CPU, by process."""
    steps: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How often each of quell's steps was taken, and milliseconds in all."""
    baselines: dict[str, float] = field(default_factory=dict)
    """A second."""


def processes() -> dict[int, tuple[int, str, float]]:
    """Every process: its parent, its name, and the seconds of CPU that it took with children that ended."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        fields = text[text.rindex(")") + 2 :].split()
        ticks = sum(int(fields[place]) for place in (11, 12, 13, 14))
        found[int(entry.name)] = (int(fields[1]), name, ticks / TICKS)
    return found


def cpu_below(root: int) -> float:
    """Seconds of CPU of a process and all below it."""
    every = processes()

    def below(pid: int) -> float:
        own = every[pid][2] if pid in every else 0.0
        return own + sum(below(child) for child, (parent, _, _) in every.items() if parent == pid)

    return below(root)


class Rig:
    """Postgres, a quell, and the driver that loads it."""

    def __init__(self, directory: Path, postgres: Postgres) -> None:
        self._directory = directory
        self.database = postgres.new_database()
        self._livekit = f"127.0.0.1:{free_port()}"
        self._runs = 0
        [setting] = rows(self.database, "select current_setting('fsync') as fsync, pg_postmaster_start_time() as t")
        if setting["fsync"] != "on":
            raise RuntimeError("Postgres does not sync to disk: what is measured would mean nothing")
        [data] = rows(self.database, "select current_setting('data_directory') as folder")
        self._postmaster = int((Path(str(data["folder"])) / "postmaster.pid").read_text().split("\n")[0])
        self.quell = Quell(directory, self.database)
        self.start()

    def _steps(self) -> dict[str, tuple[int, float]]:
        text = httpx.get(f"{self.quell.url}/metrics", timeout=30).text
        found = re.findall(r'quell_step_seconds_(sum|count){step="(\w+)"} (\S+)', text)
        values = {(kind, step): float(value) for kind, step, value in found}
        return {step: (int(values["count", step]), values["sum", step] * 1000) for kind, step in values if kind == "sum"}

    def heir(self) -> Quell:
        """Another quell on the same database, which LiveKit tells nothing."""
        heir = Quell(self._directory, self.database, name="quell-heir")
        heir.start(f"http://{self._livekit}", **SETTINGS)
        return heir

    def start(self, **settings: str) -> None:
        """Starts quell, again."""
        self.quell.start(f"http://{self._livekit}", HERE / "policies.yaml", **SETTINGS | settings)

    def killed(self, rate: int, after: float) -> tuple[dict[str, object], list[float]]:
        """Kills quell amid forbidden microphones; returns what the driver said, and seconds from each
        event that it had accepted and not ended until another had."""
        with self._driver("forbidden", self.quell.webhook_url, rate=rate, seconds=1) as driver:
            time.sleep(after)
            [now] = rows(self.database, "select clock_timestamp() as t")
            self.quell.kill()
            said = self._said(driver)
        found = rows(
            self.database,
            # What is settled so soon was the dead one's own doing.
            """select extract(epoch from settled_at - received_at)::float8 as seconds from webhook_event
               where received_at < %(t)s + interval '0.1 s' and settled_at > %(t)s + interval '0.1 s'""",
            t=now["t"],
        )
        return said, [float(str(row["seconds"])) for row in found]

    @contextmanager
    def _driver(self, scenario: str, url: str, **options: int) -> Iterator[subprocess.Popen[bytes]]:
        self._runs += 1
        arguments = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        command = [
            DRIVER, "run", scenario, "--webhook-url", url, "--livekit", self._livekit,
            "--prefix", f"{os.getpid()}-{self._runs}", *arguments,
        ]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            yield driver
        finally:
            driver.kill()

    @staticmethod
    def _said(driver: subprocess.Popen[bytes]) -> dict[str, object]:
        assert driver.stdout is not None
        said = driver.stdout.read()
        if not said:
            raise RuntimeError("the driver failed")
        return dict(json.loads(said))

    def run(self, name: str, goal: str, scenario: str, *, url: str | None = None, **options: int) -> Measured:
        """Runs a scenario."""
        before, steps = self._cpu(), self._steps()
        with self._driver(scenario, url or self.quell.webhook_url, **options) as driver:
            said = self._said(driver)
            # Its CPU is its parent's to tell once it has ended.
            _, driver.returncode, usage = os.wait4(driver.pid, 0)
        after, later = self._cpu(), self._steps()
        cpu = {who: after[who] - before[who] for who in after} | {"driver": usage.ru_utime + usage.ru_stime}
        taken = {step: (later[step][0] - steps[step][0], later[step][1] - steps[step][1]) for step in later}
        if said["refused"]:
            raise RuntimeError(f"{name}: {said['refused']} webhooks were refused")
        measured = Measured(name, goal, said, cpu, taken)
        print(line(measured), file=sys.stderr)
        return measured

    def _cpu(self) -> dict[str, float]:
        return {"quell": cpu_below(self.quell.pid()), "postgres": cpu_below(self._postmaster)}

    def pgbench(self, clients: int, seconds: int) -> float:
        """Single-row inserts a second."""
        run = subprocess.run(
            ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(seconds), "-f", PGBENCH, self.database],
            check=True, capture_output=True, text=True,
        )
        found = re.search(r"tps = ([\d.]+)", run.stdout)
        assert found is not None, run.stdout
        print(f"  pgbench, {clients} clients: {float(found[1]):,.0f} a second", file=sys.stderr)
        return float(found[1])

    @contextmanager
    def bare(self) -> Iterator[str]:
        """A bare axum handler; its URL."""
        port = free_port()
        child = Child("bare", [DRIVER, "bare", "--listen", f"127.0.0.1:{port}"], clean_environment(), self._directory)
        try:
            time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/livekit/webhook"
        finally:
            child.stop()


def line(measured: Measured) -> str:
    """One run, for people who wait."""
    cpu = ", ".join(f"{who} {seconds:.1f}" for who, seconds in measured.cpu.items())
    return f"{measured.name}: {json.dumps(measured.said)}; CPU s: {cpu}"


def settle(rig: Rig) -> None:
    """Waits until quell has nothing left to do."""
    deadline = time.monotonic() + 180
    while rows(rig.database, "select 1 from job where state <> 'dead' limit 1"):
        if time.monotonic() > deadline:
            raise TimeoutError("jobs are left")
        time.sleep(0.2)


def forbidden(rig: Rig, seconds: int) -> list[Measured]:
    """Forbidden microphones at rates."""
    goals = {200: "", 500: "", 700: "p99 40 ms", 1000: "p50 10 ms, p99 60 ms"}
    found = []
    for rate, goal in goals.items():
        found.append(rig.run(f"forbidden microphones, {rate:,} a second", goal, "forbidden", rate=rate, seconds=seconds))
        settle(rig)
    name = "a thousand microphones of one room within a second"
    return [*found, rig.run(name, "", "forbidden", rate=1000, seconds=1, rooms=1)]


def gone(rig: Rig, seconds: int) -> list[Measured]:
    """Tracks that are gone, then one that is there."""
    return [
        rig.run(f"{events:,} tracks that are gone, then one microphone", "100 ms", "gone", gone=events, rooms=20)
        for events in (400, 10_000)
    ]


def flood(rig: Rig, seconds: int) -> list[Measured]:
    """One participant publishes 200 times a second."""
    return [rig.run("one source publishes 200 times a second; others", "nobody else waits", "flood", seconds=seconds, rooms=20)]


def ingest(rig: Rig, seconds: int) -> list[Measured]:
    """As many events as are answered, beside pgbench and a bare handler."""
    found = []
    for clients, goal in ((64, "1.5 x pgbench"), (1, "0.75 ms")):
        name = f"participant events, {clients} at once: the median of {INGEST_ROUNDS} runs beside pgbench"
        rounds = []
        for _ in range(INGEST_ROUNDS):
            before = rig.pgbench(clients, seconds // 2)
            measured = rig.run(name, goal, "ingest", clients=clients, seconds=seconds // 2)
            after = rig.pgbench(clients, seconds // 2)
            measured.baselines["pgbench"] = (before + after) / 2
            with rig.bare() as url:
                bare = rig.run("  the bare handler", "", "ingest", url=url, clients=clients, seconds=seconds // 2)
            measured.baselines["bare"] = a_second(bare)
            rounds.append(measured)
        rounds.sort(key=lambda measured: a_second(measured) / measured.baselines["pgbench"])
        ratios = ", ".join(f"{a_second(measured) / measured.baselines['pgbench']:.2f}" for measured in rounds)
        median = rounds[len(rounds) // 2]
        median.name = f"{name}: {ratios}"
        found.append(median)
    return found


def answers(rig: Rig, seconds: int) -> list[Measured]:
    """Events at a rate, one in ten a track that no policy forbids."""
    return [rig.run("answers, 3,000 a second, one in ten a track", "p99 5 ms", "answers", rate=3000, seconds=seconds)]


def killed(rig: Rig, seconds: int) -> list[Measured]:
    """A quell is killed again and again, and another on the same database does what it had accepted."""
    heir = rig.heir()
    taken: list[float] = []
    accepted, missed = 0, 0
    try:
        for number in range(KILLED_ROUNDS):
            said, seconds_taken = rig.killed(rate=1000, after=0.9 + number * 0.01)
            taken += seconds_taken
            accepted += int(str(said["accepted"]))
            missed += int(str(said["missed"]))
            settle(rig)
            rig.start()
    finally:
        heir.stop()
    taken.sort()
    place = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    spread = {key: taken[max(0, math.ceil(len(taken) * share) - 1)] * 1000 for key, share in place.items()}
    name = f"killed {KILLED_ROUNDS} times at 1,000 a second, one URL: the {len(taken)} that another did"
    said = {"accepted": accepted, "seconds": float(KILLED_ROUNDS), "muted": spread, "missed": missed}
    return [Measured(name, "p99 2 s", said)]


def swept(rig: Rig, seconds: int) -> list[Measured]:
    """Webhooks, while 1,000 rooms of 20 participants are swept again and again, and while they are not."""
    found = []
    for calls in (0, 1000, 200):
        rig.quell.stop()
        [begun] = rows(rig.database, "select clock_timestamp() as t")
        cron = "*/8 * * * * *" if calls else "off"
        rig.start(QUELL_SWEEP_CRON=cron, QUELL_SWEEP_CALLS_PER_SECOND=str(calls or 200))
        how = f"swept at {calls:,} calls a second" if calls else "not swept"
        goal = {0: "", 1000: "p99 5 ms more; a sweep 5 s", 200: "p99 5 ms more; a sweep 6 s"}[calls]
        measured = rig.run(
            f"100 webhooks a second beside 1,000 rooms of 20, {how}", goal, "answers",
            rate=100, seconds=seconds * 3, rooms=20, crowded=1000,
        )
        settle(rig)
        took = rows(
            rig.database,
            """select extract(epoch from finished_at - started_at)::float8 as seconds, muted from sweeps
               where started_at > %(t)s and rooms >= 1000 order by 1""",
            t=begun["t"],
        )
        if took:
            times = " / ".join(f"{row['seconds']:.1f}" for row in took)
            measured.name += f": sweeps took {times} s"
        print(measured.name, took, file=sys.stderr)
        found.append(measured)
    rig.quell.stop()
    rig.start()
    return found


def a_second(measured: Measured) -> float:
    """Events accepted a second."""
    return float(str(measured.said["accepted"])) / float(str(measured.said["seconds"]))


SCENARIOS = {"forbidden": forbidden, "gone": gone, "flood": flood, "ingest": ingest, "answers": answers, "killed": killed, "swept": swept}


def spread(said: object) -> str:
    """The percentiles of a run."""
    if not isinstance(said, dict):
        return "-"
    return " / ".join(f"{said[key]:.1f}" for key in ("p50", "p99", "max"))


def table(all_measured: Iterable[Measured]) -> str:
    """The runs in Markdown."""
    lines = [
        "| tried | goal | muted, ms p50 / p99 / max | in the same room | answered, ms p50 / p99 / max | a second | not muted | CPU s: quell / Postgres / driver and double |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for measured in all_measured:
        said = measured.said
        beside = ", ".join(f"{name} {rate:,.0f}" for name, rate in measured.baselines.items())
        rate = f"{a_second(measured):,.0f}" + (f" ({beside})" if beside else "")
        cpu = " / ".join(f"{measured.cpu[who]:.1f}" for who in PROCESSES) if measured.cpu else "-"
        lines.append(
            f"| {measured.name} | {measured.goal} | {spread(said.get('muted'))} | {spread(said.get('muted_beside'))} "
            f"| {spread(said.get('answered'))} | {rate} | {said['missed']} | {cpu} |"
        )
    return "\n".join(lines)


PROCESSES = ("quell", "postgres", "driver")
# quell's steps on the way to a mute, and after it.
STEPS = ("Verify", "Commit", "Queue", "Facts", "Decide", "Intent", "Call", "Settle")


def where_time_goes(all_measured: Iterable[Measured]) -> str:
    """The mean of each of quell's steps, and the CPU that an event cost each process."""
    lines = [
        "| tried | " + " | ".join(STEPS) + " | CPU an event, us: quell / Postgres / driver and double |",
        "|---" * (len(STEPS) + 2) + "|",
    ]
    for measured in all_measured:
        if not measured.steps:
            continue
        means = [f"{total / count:.2f}" if count else "-" for count, total in (measured.steps[step] for step in STEPS)]
        events = float(str(measured.said["accepted"]))
        cpu = " / ".join(f"{measured.cpu[who] / events * 1e6:,.0f}" for who in PROCESSES)
        lines.append(f"| {measured.name} | {' | '.join(means)} | {cpu} |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Puts the tables between their markers in docs/BENCHMARKS.md."""
    page = REPOSITORY / "docs/BENCHMARKS.md"
    before, rest = page.read_text().split(MARKERS[0], 1)
    _, after = rest.split(MARKERS[1], 1)
    page.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


def main(arguments: Iterable[str] | None = None) -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description="quell under load")
    parser.add_argument("--only", choices=SCENARIOS, action="append")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/BENCHMARKS.md")
    options = parser.parse_args(None if arguments is None else list(arguments))
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder, Postgres(durable=True) as postgres:
        rig = Rig(Path(folder), postgres)
        try:
            for name in options.only or SCENARIOS:
                measured += SCENARIOS[name](rig, options.seconds)
                settle(rig)
        finally:
            rig.quell.stop()
    text = f"{table(measured)}\n\nMilliseconds, the mean of each step:\n\n{where_time_goes(measured)}"
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
