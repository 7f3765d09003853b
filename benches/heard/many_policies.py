"""Policies of many customers, none of which decides about an attendee's microphone in the measured room.

What a busy installation holds: rules of the operator, one tenant with thousands, and hundreds of
tenants with a few dozen each. Every kind of condition is among them, and a part of each kind comes as
far as it can in the measured room before it turns out not to be about the attendee.
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

POLICIES_A_FILE = 1_000
"""A file has at most 1 MiB; one of these policies has some 300 bytes."""
POLICIES_A_TENANT = 30
NEAR_ONE_IN = 20
"""So many of them are about the measured room, by name or by any of its globs."""

Policy = dict[str, Any]
MICROPHONES: Policy = {"type": "AUDIO", "source": ["MICROPHONE", "UNKNOWN"]}
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")
ROOMS = ("webinar", "lesson", "standup", "support", "stage", "town-hall")
LANGUAGES = ("de", "en", "fr", "hi", "ja", "pt")


class Maker:
    """Makes policies, the same ones every time (but for the hours of windows)."""

    def __init__(self, room: str, tenant: str) -> None:
        self._room = room
        self._tenant = tenant
        self._random = random.Random(1)
        self._kinds: tuple[Callable[[bool], Policy], ...] = (
            self._rooms,
            self._prefix,
            self._globs,
            self._identities,
            self._attributes,
            self._expression,
            self._window,
            self._period,
            self._exemption,
            self._dry_run,
        )

    def policies(self, count: int, owner: str | None) -> Iterator[Policy]:
        """So many policies of one owner; none is the operator."""
        for number in range(count):
            make = self._kinds[number % len(self._kinds)]
            name = f"{make.__name__.strip('_').replace('_', '-')}-{number}"
            policy = {"name": name, "effect": "mute"} | make(owner in (None, self._tenant))
            yield policy | ({"owner": owner} if owner else {})

    def _near(self) -> str | None:
        """Now and then, a glob of the measured room: then something else must keep the policy from it."""
        if self._random.randrange(NEAR_ONE_IN):
            return None
        return self._random.choice((self._room, f"{self._room[:4]}*", "*"))

    def _far(self) -> str:
        return f"{self._random.choice(ROOMS)}-{self._random.randrange(10_000)}"

    def _rooms(self, sees: bool) -> Policy:
        rooms = [self._far() for _ in range(self._random.randint(1, 5))]
        # Another tenant may have a room of the name, and want it quiet.
        return {"match": {"room": rooms if sees else [*rooms, self._room]} | MICROPHONES}

    def _prefix(self, _sees: bool) -> Policy:
        room = self._near() or f"{self._far()}*"
        return {"match": {"room": room, "type": "AUDIO", "kind": ["SIP", "CONNECTOR"]}}

    def _globs(self, _sees: bool) -> Policy:
        word, number = self._random.choice(ROOMS), self._random.randrange(1_000)
        globs = [f"*-{word}-{number}", f"{word}-[0-9]{number}-{{{','.join(LANGUAGES)}}}", f"{number}?-*"]
        return {"match": {"room": globs[: self._random.randint(1, 3)]} | MICROPHONES}

    def _identities(self, _sees: bool) -> Policy:
        identities = [f"guest-{self._random.randrange(10_000)}", f"bot-{self._random.randrange(100)}-*"]
        return {"match": {"room": self._near() or self._far(), "identity": identities} | MICROPHONES}

    def _attributes(self, _sees: bool) -> Policy:
        attributes = {"lang": self._random.sample(LANGUAGES, 2), "seat": f"row-{self._random.randrange(50)}"}
        match = {"room": self._near() or self._far(), "attributes": attributes} | MICROPHONES
        return {"match": match, "priority": 200}

    def _expression(self, _sees: bool) -> Policy:
        number = self._random.randrange(100, 1_000)
        conditions = (
            f"room.num_participants > {number}",
            f'room.metadata.plan == "plan-{number}" && participant.attributes.role == "attendee"',
            f'track.name.contains("{number}") || participant.identity.endsWith("-{number}x")',
            f"has(room.metadata.quiet) && room.metadata.seats.front < {number}",
            f'size(participant.attributes["sip.phoneNumber"]) > 0 && participant.joined_at > {number}',
        )
        match = {"room": self._near() or f"{self._far()}*"} | MICROPHONES
        return {"match": match, "when": self._random.choice(conditions)}

    def _window(self, _sees: bool) -> Policy:
        near = self._near()
        if near:
            # It opens twelve hours from now, so that it is closed while this is measured.
            start = datetime.now(UTC) + timedelta(hours=12)
            window = {"cron": f"{start.minute} {start.hour} * * *", "duration": "2h", "timezone": "UTC"}
        else:
            cron = f"{self._random.randrange(60)} {self._random.randrange(24)} * * MON-FRI"
            window = {"cron": cron, "duration": "30m", "timezone": self._random.choice(ZONES)}
        return {"match": {"room": near or f"{self._far()}*", "type": "AUDIO"}, "active": [window]}

    def _period(self, _sees: bool) -> Policy:
        near = self._near()
        when = {"not_before": "2099-01-01T00:00:00Z"} if near else {"first": "10m"}
        return {"match": {"room": near or f"{self._far()}-*"} | MICROPHONES} | when

    def _exemption(self, _sees: bool) -> Policy:
        identity = f"speaker-{self._random.randrange(1_000)}"
        return {
            "match": {"room": self._near() or f"{self._far()}*", "identity": identity, "kind": "STANDARD"},
            "effect": "exempt",
            "priority": 500,
            "reason": "speakers of this event are heard",
        }

    def _dry_run(self, _sees: bool) -> Policy:
        match = {"room": self._near() or self._far(), "type": "AUDIO", "kind": "INGRESS"}
        return {"match": match, "mode": "dry_run"}


def write(folder: Path, count: int, *, room: str, tenant: str) -> None:
    """Writes `count` policies as YAML, which JSON is. A fifth is the operator's, as many are the tenant's
    whose room is measured, and all others have some 30 each."""
    maker = Maker(room, tenant)
    made = [*maker.policies(count // 5, None), *maker.policies(count // 5, tenant)]
    while len(made) < count:
        owner = f"customer-{len(made) // POLICIES_A_TENANT}"
        made += maker.policies(min(POLICIES_A_TENANT, count - len(made)), owner)
    for start in range(0, count, POLICIES_A_FILE):
        text = json.dumps({"policies": made[start : start + POLICIES_A_FILE]}, indent=0)
        (folder / f"many-{start:05}.yaml").write_text(text)
