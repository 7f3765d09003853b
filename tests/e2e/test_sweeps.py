"""What no webhook tells, made good on a real server: sweeps find who is live, and mute what is forbidden."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.livekit_server import LiveKitServer
from support.postgres import Postgres, rows
from support.processes import eventually
from support.quell import Quell
from support.site import Join, Site
from support.told import facts_of, history, is_muted, tenant_room
from support.twirp import RoomService

pytestmark = pytest.mark.livekit

EVERY_SECOND = "* * * * * *"
RARELY = "0 0 0 1 1 *"
MICS = {"name": "mics", "match": {"room": ["quiet-*"], "source": ["MICROPHONE"]}, "effect": "mute"}
# Without a word from LiveKit: nobody listens there.
NOWHERE = "http://127.0.0.1:9/livekit/webhook"


@dataclass
class Deaf:
    """A LiveKit whose webhooks are all lost, and the quell that is to cope with it."""

    livekit: LiveKitServer
    quell: Quell

    def start(self, cron: str, policies: list[dict[str, Any]]) -> None:
        """Starts quell with these policies stored."""
        self.quell.command("migrate")
        if policies:
            self.quell.store(policies)
        self.quell.start(self.livekit.url, QUELL_SWEEP_CRON=cron)

    def swept(self, cause: str) -> int:
        """How many sweeps of this cause are finished."""
        [row] = rows(
            self.quell.database_url,
            "select count(*) as n from sweeps where cause = %(cause)s and finished_at is not null",
            cause=cause,
        )
        return int(row["n"])


@pytest.fixture
def deaf(directory: Path, postgres: Postgres, suffix: str) -> Iterator[Deaf]:
    """A site of the test's own."""
    with ExitStack() as stack:
        name = f"sweeps-{suffix}"
        livekit = LiveKitServer(
            directory, webhook_urls=[NOWHERE], remote_unmute=True, name=f"livekit-{name}"
        )
        stack.callback(livekit.stop)
        quell = Quell(directory, postgres.new_database(), name=f"quell-{name}")
        stack.callback(quell.stop)
        yield Deaf(livekit, quell)


@pytest.fixture
async def deaf_rooms(deaf: Deaf) -> AsyncIterator[RoomService]:
    """LiveKit's own API there."""
    service = RoomService(deaf.livekit.url)
    yield service
    await service.aclose()


async def speaks(deaf: Deaf, rooms: RoomService, join: Join, room: str) -> Any:
    """Somebody speaks in a room of acme's, and is heard; returns who speaks, who listens, and the track."""
    await rooms.create_room(room, tenant_room("acme"))
    ears = await join(deaf.livekit.url, room, "ears")
    ann = await join(deaf.livekit.url, room, "ann")
    track = await ann.publish_tone()
    await ears.hears("ann")
    return ann, ears, track


async def is_silenced(deaf: Deaf, rooms: RoomService, join: Join, room: str) -> Any:
    """Somebody begins to speak in a room of acme's, and a sweep mutes it; the same."""
    await rooms.create_room(room, tenant_room("acme"))
    ears = await join(deaf.livekit.url, room, "ears")
    ann = await join(deaf.livekit.url, room, "ann")
    track = await ann.publish_tone()
    await is_swept(deaf, rooms, room, track)
    return ann, ears, track


async def is_swept(deaf: Deaf, rooms: RoomService, room: str, track: str, *, count: int = 1) -> None:
    """The track is muted, and the audit says by what."""
    await eventually(lambda: is_muted(rooms, room, "ann", track), "ann is muted")
    site = Site(deaf.livekit, deaf.quell)
    for row in await history(site, room, count):
        assert facts_of(row, "origin", "action", "outcome", "tenant", "policy_name", "changed") == {
            "origin": "sweep",
            "action": "mute",
            "outcome": "done",
            "tenant": "acme",
            "policy_name": "mics",
            "changed": True,
        }


async def test_a_lost_webhook_is_made_good_and_who_unmutes_herself_is_muted_again(
    deaf: Deaf, deaf_rooms: RoomService, join: Join, suffix: str
) -> None:
    deaf.start(EVERY_SECOND, [MICS])
    room = f"quiet-{suffix}"
    ann, ears, track = await is_silenced(deaf, deaf_rooms, join, room)
    await ears.hears_silence_from("ann")
    ann.set_muted(track, False)
    await ears.hears("ann", frames=1)
    await is_swept(deaf, deaf_rooms, room, track, count=2)
    await ears.hears_silence_from("ann")


async def test_a_changed_policy_silences_who_speaks_already(
    deaf: Deaf, deaf_rooms: RoomService, join: Join, suffix: str
) -> None:
    deaf.start(RARELY, [])
    room = f"quiet-{suffix}"
    _, ears, track = await speaks(deaf, deaf_rooms, join, room)
    deaf.quell.store([MICS])
    await is_swept(deaf, deaf_rooms, room, track)
    await ears.hears_silence_from("ann")
    assert deaf.swept("policy") == 1


async def test_a_window_that_opens_silences_who_speaks_already(
    deaf: Deaf, deaf_rooms: RoomService, join: Join, suffix: str
) -> None:
    # At the next full minute, but not before all are there.
    opens = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)
    window = {"cron": f"{opens.minute} {opens.hour} * * *", "duration": "5m", "timezone": "UTC"}
    deaf.start(RARELY, [MICS | {"active": [window]}])
    room = f"quiet-{suffix}"
    _, ears, track = await speaks(deaf, deaf_rooms, join, room)
    assert not await is_muted(deaf_rooms, room, "ann", track)
    left = (opens - datetime.now(UTC)).total_seconds()
    await eventually(lambda: is_muted(deaf_rooms, room, "ann", track), "the window opens", left + 15)
    await is_swept(deaf, deaf_rooms, room, track)
    await ears.hears_silence_from("ann")
    [row] = rows(deaf.quell.database_url, "select started_at from moderation_history where origin = 'sweep'")
    assert row["started_at"] >= opens
    assert deaf.swept("edge") == 1


async def test_a_moderators_unmute_stands_through_ten_sweeps(
    deaf: Deaf, deaf_rooms: RoomService, join: Join, suffix: str
) -> None:
    deaf.start(EVERY_SECOND, [MICS])
    room = f"quiet-{suffix}"
    _, ears, track = await is_silenced(deaf, deaf_rooms, join, room)
    request = {"room_name": room, "participant_identity": "ann", "track_sid": track, "muted": False}
    assert deaf.quell.mute("acme", request).status_code == 200
    await ears.hears("ann")
    begun = deaf.swept("schedule")
    await eventually(lambda: deaf.swept("schedule") >= begun + 10, "ten sweeps", 30)
    assert not await is_muted(deaf_rooms, room, "ann", track)
    await ears.hears("ann")
    outcomes = rows(
        deaf.quell.database_url,
        "select outcome from moderation_history where origin = 'sweep' order by started_at",
    )
    assert [row["outcome"] for row in outcomes] == ["done", "superseded"]


async def test_an_outage_is_made_good_at_start(
    deaf: Deaf, deaf_rooms: RoomService, join: Join, suffix: str
) -> None:
    deaf.start(RARELY, [MICS])
    deaf.quell.stop()
    room = f"quiet-{suffix}"
    _, ears, track = await speaks(deaf, deaf_rooms, join, room)
    ready = datetime.now(UTC)
    deaf.start(RARELY, [])
    await is_swept(deaf, deaf_rooms, room, track)
    await ears.hears_silence_from("ann")
    [row] = rows(deaf.quell.database_url, "select settled_at from moderation_history where origin = 'sweep'")
    assert row["settled_at"] > ready
