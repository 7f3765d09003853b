"""Resident memory of quell under full load: whether it stays flat.

    make bench-memory [ARGS="--minutes 20 --rate 700"]

Forbidden microphones without a pause, each told of, muted and audited; Postgres, quell, and the driver with the
LiveKit double in it share the machine.
"""

import argparse
import statistics
import tempfile
import threading
from pathlib import Path

from bench_load import Rig, settle, spread
from support.postgres import Postgres

SAMPLE_SECONDS = 0.5


def resident_mb(pid: int) -> float:
    """In MB of 10^6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


class Samples(threading.Thread):
    """Looks at a process until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.found: list[float] = []

    def run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.found.append(resident_mb(self._pid))

    def stop(self) -> list[float]:
        self._over.set()
        self.join()
        return self.found


def main() -> None:
    """A line a minute."""
    parser = argparse.ArgumentParser(description="quell's memory under load")
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--rate", type=int, default=700, help="forbidden microphones a second")
    options = parser.parse_args()
    minutes: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder, Postgres(durable=True) as postgres:
        rig = Rig(Path(folder), postgres)
        try:
            print(f"at rest {resident_mb(rig.quell.pid()):.0f} MB", flush=True)
            for minute in range(options.minutes):
                samples = Samples(rig.quell.pid())
                samples.start()
                said = rig.run(f"minute {minute + 1}", "", "forbidden", rate=options.rate, seconds=60).said
                minutes.append(samples.stop())
                print(f"minute {minute + 1:3}: {statistics.mean(minutes[-1]):6.1f} MB, most {max(minutes[-1]):6.1f}; "
                      f"muted p50 / p99 / max {spread(said['muted'])} ms, {said['missed']} not muted", flush=True)
            settle(rig)
        finally:
            rig.quell.stop()
    half = len(minutes) // 2
    means = [statistics.mean(found) for found in minutes]
    growth = statistics.linear_regression(range(half, len(means)), means[half:]).slope if half > 1 else 0.0
    print(f"most {max(map(max, minutes)):.0f} MB; the second half grows by {growth:+.2f} MB a minute")


if __name__ == "__main__":
    main()
