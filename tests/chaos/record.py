"""What all rounds came to, in a JSON file that the next run goes on with."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

# The bars: how often each has to have happened without a loss.
BARS = {"kill_quell": 1000, "kill_postmaster": 100, "cut": 100}
FIRST_ACK_SECONDS = 0.5
CONFIDENCE = 0.95


@dataclass
class Record:
    """Sums over rounds."""

    next_seed: int = 1
    rounds: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    given_up: int = 0
    """Events that LiveKit gave up, never acknowledged: what a long outage costs."""
    lost: int = 0
    calls: int = 0
    repeats: dict[str, int] = field(default_factory=dict)
    disagreements: dict[str, int] = field(default_factory=dict)
    failed_seeds: list[int] = field(default_factory=list)
    first_ack_seconds: dict[str, list[float]] = field(default_factory=dict)
    """By what it is counted from: every single one."""

    def add(self, seed: int, other: "Record") -> None:
        """Adds a round."""
        self.next_seed = seed + 1
        self.rounds += 1
        if other.disagreements:
            self.failed_seeds.append(seed)
        self.sum(other)

    def sum(self, other: "Record") -> None:
        """Adds what something else came to."""
        self.acknowledged += other.acknowledged
        self.given_up += other.given_up
        self.lost += other.lost
        self.calls += other.calls
        for mine, its in (
            (self.faults, other.faults), (self.repeats, other.repeats), (self.disagreements, other.disagreements),
        ):
            for name, count in its.items():
                mine[name] = mine.get(name, 0) + count
        for name, seconds in other.first_ack_seconds.items():
            self.first_ack_seconds.setdefault(name, []).extend(seconds)

    @classmethod
    def read(cls, file: Path) -> "Record":
        """What earlier runs came to."""
        return cls(**json.loads(file.read_text())) if file.exists() else cls()

    def write(self, file: Path) -> None:
        """In one step: who is broken off here leaves what was there before."""
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(draft, file)

    def count(self, fault: str) -> int:
        """How often, whichever link it was on."""
        return sum(count for name, count in self.faults.items() if name == fault or name.startswith(f"{fault}_"))

    def bars_left(self) -> dict[str, int]:
        """How many of each are still to come."""
        left = {fault: bar - self.count(fault) for fault, bar in BARS.items()}
        return {fault: count for fault, count in left.items() if count > 0}

    def text(self) -> str:
        """For people."""
        repeats = ", ".join(f"{count} {name}" for name, count in self.repeats.items())
        lines = [
            f"{self.rounds} rounds: " + ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items())),
            f"acknowledged events {self.acknowledged:,}, lost {self.lost}; of all that may come, at most "
            f"{loss_rate_max(self.lost, self.acknowledged):.2g} are lost (95 %, Clopper-Pearson, one-sided)",
            f"given up by LiveKit, unacknowledged: {self.given_up}",
            f"mute calls {self.calls:,}, again on the same track: {repeats or 'none'}",
            f"disagreements: {self.disagreements or 'none'}",
        ]
        for name, seconds in self.first_ack_seconds.items():
            late = sum(each > FIRST_ACK_SECONDS for each in seconds)
            bar = f"; the bar is {FIRST_ACK_SECONDS} s: {late} above" if name == "a start" else ""
            lines.append(f"first ack after {name}: {spread(seconds)}{bar}")
        if left := self.bars_left():
            lines.append("to the bars: " + ", ".join(f"{count} {fault}" for fault, count in left.items()))
        return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all is not above."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * share) - 1)]


def spread(seconds: Sequence[float]) -> str:
    """How long, mostly and at worst."""
    if not seconds:
        return "never"
    places = ((0.5, "p50"), (0.99, "p99"), (1.0, "max"))
    told = ", ".join(f"{name} {percentile(seconds, share):.3f} s" for share, name in places)
    return f"{told} ({len(seconds)} times)"


def loss_rate_max(lost: int, of: int) -> float:
    """The upper end of the exact (Clopper-Pearson) one-sided 95 % interval; without a loss, about 3 / `of`."""
    if lost >= of:
        return 1.0
    if lost == 0:
        return -math.expm1(math.log(1 - CONFIDENCE) / of)
    low, high = lost / of, 1.0
    # The rate at which so few losses would be seen in one of twenty such runs.
    for _ in range(100):
        middle = (low + high) / 2
        if _at_most(lost, of, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(lost: int, of: int, rate: float) -> float:
    """The probability of at most that many."""
    if rate >= 1:
        return 0.0
    terms = (
        math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)
        + k * math.log(rate) + (of - k) * math.log1p(-rate)
        for k in range(lost + 1)
    )
    return math.fsum(math.exp(term) for term in terms)
