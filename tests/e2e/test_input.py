"""What people's backends and clients send, odd but real, through a real livekit-server."""

import json
import time

import pytest

from support.postgres import rows as query
from support.processes import eventually
from support.site import Join, Site
from support.told import is_muted, settled, tenant_room
from support.twirp import RoomService, admin_of

pytestmark = pytest.mark.livekit


@pytest.mark.parametrize(
    "careless",
    [r'"half \ud83d"', "1e400", "NaN", 200 * "[" + 200 * "]"],
    ids=["surrogate", "1e400", "nan", "nested"],
)
async def test_careless_metadata_hides_no_tenant(
    site: Site, rooms: RoomService, join: Join, suffix: str, careless: str
) -> None:
    room = f"townhall-{suffix}"
    await rooms.create_room(room, f'{{"x":{careless},"auth_id":"acme"}}')
    phone = await join(site.livekit.url, room, "phone", kind="sip")
    track = await phone.publish_tone()
    await eventually(lambda: is_muted(rooms, room, "phone", track), "acme's policy mutes phones")
    assert (await settled(site, track))["facts"]["room"]["tenant"] == "acme"
    request = {"room_name": room, "participant_identity": "phone", "track_sid": track, "muted": False}
    assert site.quell.mute("acme", request).status_code == 200


async def test_two_tenants_in_one_metadata_are_none(site: Site, rooms: RoomService, join: Join, room: str) -> None:
    await rooms.create_room(room, '{"auth_id":"acme","auth_id":"globex"}')
    speaker = await join(site.livekit.url, room, "speaker")
    track = await speaker.publish_tone()
    request = {"room_name": room, "participant_identity": "speaker", "track_sid": track, "muted": True}
    for tenant in ("acme", "globex"):
        assert site.quell.mute(tenant, request).status_code == 404
    assert not await is_muted(rooms, room, "speaker", track)


async def test_as_much_metadata_as_livekit_takes_is_stored(
    site: Site, rooms: RoomService, join: Join, suffix: str
) -> None:
    room = f"webinar-{suffix}"

    # Characters for which JSON has two bytes each, and six.
    quotes = json.dumps({"auth_id": "acme", "x": 130_000 * '"'}).ljust(512 * 1024)
    controls = 512 * 1024 * "\x01"
    await rooms.create_room(room, quotes)
    speaker = await join(site.livekit.url, room, "speaker")
    body = {"room": room, "identity": "speaker", "metadata": controls}
    await rooms.ok("UpdateParticipant", body, admin_of(room))
    track = await speaker.publish_tone()
    await eventually(lambda: is_muted(rooms, room, "speaker", track), "the speaker is muted")
    await speaker.leave()

    def stored() -> list[dict[str, object]]:
        return query(
            site.quell.database_url,
            "select tenant, length(body::text) as bytes from webhook_event"
            " where room_name = %(room)s and event = 'participant_left'",
            room=room,
        )

    await eventually(lambda: bool(stored()), "the event with the metadata of both is stored")
    [event] = stored()
    assert event["tenant"] == "acme"
    assert event["bytes"] > 6 * len(controls)


async def test_a_track_is_muted_the_moment_that_it_is_published(
    site: Site, rooms: RoomService, join: Join, room: str
) -> None:
    await rooms.create_room(room, tenant_room("acme"))
    speaker = await join(site.livekit.url, room, "speaker")
    for _ in range(10):
        track = await speaker.publish_tone()
        request = {"room_name": room, "participant_identity": "speaker", "track_sid": track, "muted": True}
        answer = site.quell.mute("acme", request)
        assert (answer.status_code, answer.json()) == (200, request)
        await speaker.unpublish(track)


async def test_a_room_that_is_not_there_and_a_foreign_one_are_told_alike(
    site_without_unmute: Site, room: str
) -> None:
    """Also where LiveKit takes 3 s to say that it knows of no participant of a room that is not there."""
    site = site_without_unmute
    service = RoomService(site.livekit.url)
    request = {"room_name": room, "participant_identity": "p", "track_sid": "TR_x", "muted": True}

    def answered() -> tuple[int, bytes, float]:
        begun = time.monotonic()
        answer = site.quell.mute("globex", request)
        return answer.status_code, answer.content, time.monotonic() - begun

    absent = answered()
    await service.create_room(room, tenant_room("acme"))
    foreign = answered()
    await service.aclose()
    assert absent[:2] == foreign[:2]
    assert absent[0] == 404
    # Seconds would be LiveKit's own, and nothing at all would tell one from the other.
    assert 0.3 <= absent[2] < 2.5
    assert 0.3 <= foreign[2] < 2.5
