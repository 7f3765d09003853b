"""What quell does to real participants, as another real participant hears it, and what it wrote down."""

import json
from typing import Any

import pytest

from support.client import Client, Source
from support.processes import eventually
from support.site import Join, Site
from support.told import facts_of, history, is_muted, settlement, tenant_room
from support.twirp import RoomService

pytestmark = pytest.mark.livekit


async def stays_silent(ears: Client, silent: str, clock: str) -> None:
    """Not one loud frame of `silent` while a hundred of `clock` are heard.

    A stream that is heard is the clock: it proves that these ears work, and needs no sleep.
    """
    before = ears.heard[silent].loud
    await ears.hears(clock, frames=100)
    assert ears.heard[silent].loud == before


@pytest.mark.parametrize(
    ("source", "stored"), [(Source.SOURCE_MICROPHONE, "MICROPHONE"), (Source.SOURCE_UNKNOWN, "UNKNOWN")]
)
async def test_forbidden_audio_is_muted_and_falls_silent_while_a_host_is_heard(
    site: Site, rooms: RoomService, join: Join, suffix: str, source: Any, stored: str
) -> None:
    room = f"webinar-{suffix}"
    await rooms.create_room(room, tenant_room("acme"))
    ears = await join(site.livekit.url, room, "ears")
    host = await join(site.livekit.url, room, "host", attributes={"role": "host"})
    attendee = await join(site.livekit.url, room, "attendee", attributes={"role": "attendee"})

    host_track = await host.publish_tone()
    await ears.hears("host")
    track = await attendee.publish_tone(source)

    await eventually(lambda: is_muted(rooms, room, "attendee", track), "the attendee is muted")
    # A few frames may be under way when the mute arrives.
    await ears.hears("host", frames=100)
    await stays_silent(ears, "attendee", clock="host")
    assert not await is_muted(rooms, room, "host", host_track)

    [row] = await history(site, room, 1)
    assert facts_of(
        row,
        "origin",
        "action",
        "outcome",
        "tenant",
        "actor",
        "identity",
        "track_sid",
        "source",
        "policy_name",
    ) == {
        "origin": "webhook",
        "action": "mute",
        "outcome": "done",
        "tenant": "acme",
        "actor": None,
        "identity": "attendee",
        "track_sid": track,
        "source": stored,
        "policy_name": "webinar-mics",
    }
    assert row["policy_owner"] is None
    assert row["event_id"].startswith("EV_")
    assert await settlement(site, host_track) == "nothing"
    assert await settlement(site, track) == "muted"


async def test_a_tenants_policy_mutes_phones_in_its_own_rooms_only(
    site: Site, rooms: RoomService, join: Join, suffix: str
) -> None:
    own, foreign = f"townhall-{suffix}", f"townhall-{suffix}-globex"
    await rooms.create_room(own, tenant_room("acme"))
    await rooms.create_room(foreign, tenant_room("globex"))
    tracks = {}
    for room in (own, foreign):
        phone = await join(site.livekit.url, room, "phone", kind="sip")
        tracks[room] = await phone.publish_tone()

    await eventually(lambda: is_muted(rooms, own, "phone", tracks[own]), "the phone is muted")
    assert await settlement(site, tracks[foreign]) == "nothing"
    assert not await is_muted(rooms, foreign, "phone", tracks[foreign])
    [row] = await history(site, own, 1)
    assert facts_of(row, "policy_name", "policy_owner", "outcome") == {
        "policy_name": "no-phones",
        "policy_owner": "acme",
        "outcome": "done",
    }


async def test_an_agent_is_exempt(site: Site, rooms: RoomService, join: Join, suffix: str) -> None:
    room = f"webinar-{suffix}"
    await rooms.create_room(room, tenant_room("acme"))
    ears = await join(site.livekit.url, room, "ears")
    agent = await join(site.livekit.url, room, "agent", kind="agent")
    track = await agent.publish_tone()
    assert await settlement(site, track) == "nothing"
    await ears.hears("agent", frames=100)


async def test_a_moderator_mutes_and_unmutes(site: Site, rooms: RoomService, join: Join, room: str) -> None:
    await rooms.create_room(room, tenant_room("acme"))
    ears = await join(site.livekit.url, room, "ears")
    speaker = await join(site.livekit.url, room, "speaker")
    track = await speaker.publish_tone()
    await ears.hears("speaker")
    request = {"room_name": room, "participant_identity": "speaker", "track_sid": track, "muted": True}

    answer = site.quell.mute("acme", request)
    assert (answer.status_code, answer.json()) == (200, request)
    await ears.hears_silence_from("speaker")

    request["muted"] = False
    answer = site.quell.mute("acme", request)
    assert (answer.status_code, answer.json()) == (200, request)
    await ears.hears("speaker")

    muted, unmuted = await history(site, room, 2)
    columns = ("origin", "actor", "tenant", "action", "outcome", "track_sid", "source", "policy_name")
    common = {
        "origin": "manual",
        "actor": "acme",
        "tenant": "acme",
        "outcome": "done",
        "track_sid": track,
        "source": "MICROPHONE",
        "policy_name": None,
    }
    assert facts_of(muted, *columns) == common | {"action": "mute"}
    assert facts_of(unmuted, *columns) == common | {"action": "unmute"}


async def test_unmuting_where_the_server_forbids_it(site_without_unmute: Site, join: Join, room: str) -> None:
    site = site_without_unmute
    service = RoomService(site.livekit.url)
    await service.create_room(room, tenant_room("acme"))
    ears = await join(site.livekit.url, room, "ears")
    speaker = await join(site.livekit.url, room, "speaker")
    track = await speaker.publish_tone()
    await ears.hears("speaker")
    request = {"room_name": room, "participant_identity": "speaker", "track_sid": track, "muted": True}
    assert site.quell.mute("acme", request).status_code == 200
    await ears.hears_silence_from("speaker")

    answer = site.quell.mute("acme", request | {"muted": False})

    assert answer.status_code == 500
    assert answer.json()["code"] == "REMOTE_UNMUTE_DISABLED"
    assert "room.enable_remote_unmute" in answer.json()["error"]
    assert await is_muted(service, room, "speaker", track)
    await service.aclose()
    _, row = await history(site, room, 2)
    assert facts_of(row, "origin", "action", "outcome") == {
        "origin": "manual",
        "action": "unmute",
        "outcome": "failed",
    }
    assert row["error"]


async def test_another_tenants_room_looks_like_no_room(
    site: Site, rooms: RoomService, join: Join, room: str
) -> None:
    request = {"room_name": room, "participant_identity": "speaker", "track_sid": "TR_x", "muted": True}

    def seen(answer: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        # What is every answer's own: when it was given, and the id of its request.
        own = ("date", "x-request-id")
        headers = [(name, value) for name, value in answer.headers.multi_items() if name not in own]
        return answer.status_code, headers, answer.content

    # The same request, before there is a room and when there is one that is another's.
    absent = seen(site.quell.mute("globex", request))
    await rooms.create_room(room, tenant_room("acme"))
    speaker = await join(site.livekit.url, room, "speaker")
    await speaker.publish_tone()
    without_track = seen(site.quell.mute("globex", request))

    assert absent == without_track
    assert absent[0] == 404
    assert json.loads(absent[2])["code"] == "PARTICIPANT_NOT_FOUND"

    _, row = await history(site, room, 2)
    assert facts_of(row, "origin", "actor", "tenant", "action", "outcome", "room_name", "identity") == {
        "origin": "manual",
        "actor": "globex",
        "tenant": "acme",
        "action": "mute",
        "outcome": "refused",
        "room_name": room,
        "identity": "speaker",
    }


async def test_another_tenants_track_is_not_touched(
    site: Site, rooms: RoomService, join: Join, room: str
) -> None:
    await rooms.create_room(room, tenant_room("acme"))
    ears = await join(site.livekit.url, room, "ears")
    speaker = await join(site.livekit.url, room, "speaker")
    track = await speaker.publish_tone()
    request = {"room_name": room, "participant_identity": "speaker", "track_sid": track, "muted": True}

    answer = site.quell.mute("globex", request)

    assert answer.status_code == 404
    assert not await is_muted(rooms, room, "speaker", track)
    await ears.hears("speaker", frames=100)
    [row] = await history(site, room, 1)
    assert facts_of(row, "actor", "tenant", "outcome") == {
        "actor": "globex",
        "tenant": "acme",
        "outcome": "refused",
    }
