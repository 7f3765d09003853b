"""What goes wrong in a round, and when: drawn from the seed alone, before anything runs."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

LINKS = ("postgres", "livekit")
# What is begun and healed, one after the other; each with the seconds that it lasts, from and to.
# A black hole's bytes arrive late, but within the lease of an action: LiveKit's time and 5 s.
FAULTS: dict[str, tuple[float, float]] = {
    "kill_postmaster": (0.0, 0.0),
    "cut_postgres": (0.0, 0.0),
    "cut_livekit": (0.0, 0.0),
    "half_open_postgres": (2.0, 6.0),
    "half_open_livekit": (2.0, 6.0),
    "black_hole_postgres": (1.0, 4.0),
    "black_hole_livekit": (1.0, 4.0),
    "delay_postgres": (2.0, 4.0),
    "delay_livekit": (2.0, 4.0),
    "refuse_postgres": (0.5, 3.0),
    "refuse_livekit": (0.5, 3.0),
    "pause_quell": (0.7, 3.0),
    "clock_jump": (6.5, 7.5),
    "failover_killed": (0.0, 0.0),
    "failover_read_only": (0.0, 0.0),
}
FAILOVERS = ("failover_killed", "failover_read_only")
KILL = "kill_quell"
KINDS = (KILL, *FAULTS)
# Webhooks' tokens are compared with quell's own clock, with 60 s to spare; beyond that it answers 401, which
# LiveKit takes for success. So no load outlives a jump of more than that, and none is made.
CLOCK_JUMP_MAX_SECONDS = 50
USUAL_DELAYS_SECONDS = (0.0, 0.003, 0.02, 0.1)
DELAYS_SECONDS = {"delay_postgres": (0.005, 0.1), "delay_livekit": (0.02, 0.4)}
# What a fault takes that ends by itself.
NOMINAL_SECONDS = 2.5
PAUSE_SECONDS = (0.3, 1.2)
KILL_PAUSE_SECONDS = (0.5, 1.0)
# Where other faults are to meet processes that run.
KILL_PAUSE_SHORT_SECONDS = (1.5, 3.0)
KILL_AT_ANY_TIME = 0.2


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    at: float
    """Seconds from the start of the load, at the earliest: one waits for the one before it."""
    seconds: float
    replica: int | None
    """None: all of them."""
    amount: float
    """Seconds of a delay, each way, or of a jump of the clock; of a kill, 1: also before it has come up."""


@dataclass(frozen=True)
class Plan:
    """One round."""

    seed: int
    replicas: int
    is_balanced: bool
    """LiveKit has one URL, a load balancer's; else it posts each event to every replica."""
    sweeps: bool
    livekit_delay_seconds: float
    """Each way, all the time: the longer a mute takes, the more of them a kill meets in the middle."""
    tracks_a_source: int
    """How many tracks of one source a participant may have at a time: clients have one, LiveKit lets them have more."""
    kills: Sequence[Fault]
    faults: Sequence[Fault]
    seconds: float

    @property
    def has_standby(self) -> bool:
        """Whether there is somebody to fail over to."""
        return any(fault.kind in FAILOVERS for fault in self.faults)

    @property
    def clock_replica(self) -> int | None:
        """The one whose clock is not the machine's."""
        return next((fault.replica for fault in self.faults if fault.kind == "clock_jump"), None)


def plan(seed: int, seconds: float, kinds: Sequence[str] = KINDS, *, each: bool = False) -> Plan:
    """Draws a round. With `each`, every kind of fault comes once, however long that takes."""
    dice = random.Random(seed)
    replicas = dice.choice((2, 3))
    is_balanced, sweeps = dice.random() < 0.5, dice.random() < 0.5
    delay, tracks_a_source = dice.choice(USUAL_DELAYS_SECONDS), dice.choice((1, 1, 1, 3))
    wanted = [kind for kind in FAULTS if kind in kinds]
    dice.shuffle(wanted)
    chosen = wanted if each else _fill(dice, wanted, seconds)
    faults, at, clock_replica = [], 1.0, dice.randrange(replicas)
    for kind in chosen:
        at += dice.uniform(*PAUSE_SECONDS)
        fault = _draw(dice, kind, at, replicas, clock_replica)
        faults.append(fault)
        at += fault.seconds or NOMINAL_SECONDS
    seconds = max(seconds, at)
    kills = _kills(dice, seconds, replicas, KILL_PAUSE_SHORT_SECONDS if each else KILL_PAUSE_SECONDS, kinds)
    return Plan(seed, replicas, is_balanced, sweeps, delay, tracks_a_source, kills, faults, seconds)


def _fill(dice: random.Random, wanted: Sequence[str], seconds: float) -> list[str]:
    """As many as there is time for; a failover now and then, and once."""
    chosen: list[str] = []
    failover = dice.random() < 0.2
    usual = [kind for kind in wanted if kind not in FAILOVERS]
    rare = [kind for kind in wanted if kind in FAILOVERS]
    used = 0.0
    while usual:
        kind = dice.choice(usual)
        used += sum(FAULTS[kind]) / 2 or NOMINAL_SECONDS
        if used > seconds:
            break
        chosen.append(kind)
    if rare and (failover or not usual):
        chosen.insert(dice.randrange(len(chosen) + 1), rare[0])
    return chosen


def _draw(dice: random.Random, kind: str, at: float, replicas: int, clock_replica: int) -> Fault:
    seconds = dice.uniform(*FAULTS[kind])
    replica = dice.choice((None, *range(replicas)))
    amount = 0.0
    if kind in DELAYS_SECONDS:
        amount = dice.uniform(*DELAYS_SECONDS[kind])
    if kind == "clock_jump":
        replica = clock_replica
        amount = float(dice.choice((-1, 1)) * dice.randrange(20, CLOCK_JUMP_MAX_SECONDS + 1))
    if kind == "pause_quell" and replica is None:
        replica = 0
    return Fault(kind, at, seconds, replica, amount)


def _kills(
    dice: random.Random, seconds: float, replicas: int, pause: tuple[float, float], kinds: Sequence[str]
) -> list[Fault]:
    """One replica after the other, in turns that vary."""
    kills: list[Fault] = []
    at = 1.0
    while KILL in kinds and (at := at + dice.uniform(*pause)) < seconds:
        any_time = float(dice.random() < KILL_AT_ANY_TIME)
        kills.append(Fault(KILL, at, 0.0, dice.randrange(replicas), any_time))
    return kills
