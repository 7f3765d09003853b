"""The contract of LiveKit's RoomService: quell's double is held to the real server by these tests.

Each test runs against both. Where the real server answers something odd, the oddity is the contract.
"""

import pytest

from support.contract import NO_ANSWER, NO_PARTICIPANT, mute, problem, seen, shows_muted
from support.processes import eventually
from support.twirp import admin_of, lister
from support.worlds import World

# Rooms.


async def test_rooms_are_listed_by_name(world: World, room: str) -> None:
    await world.create_room(room, '{"auth_id":"acme"}')
    listed = await world.api.ok("ListRooms", {"names": [room, f"{room}-not-there"]}, lister())
    [found] = listed["rooms"]
    assert found["sid"].startswith("RM_")
    assert {key: found[key] for key in ("name", "metadata", "num_participants", "num_publishers")} == {
        "name": room,
        "metadata": '{"auth_id":"acme"}',
        "num_participants": 0,
        "num_publishers": 0,
    }
    # 64-bit integers are strings in protojson.
    assert isinstance(found["creation_time"], str)
    assert isinstance(found["creation_time_ms"], str)
    assert found["active_recording"] is False


async def test_without_names_every_room_is_listed(world: World, room: str) -> None:
    for name in (room, f"{room}-2"):
        await world.create_room(name)
    listed = await world.api.ok("ListRooms", {}, lister())
    assert {room, f"{room}-2"} <= {found["name"] for found in listed["rooms"]}


async def test_a_room_that_is_not_there_is_not_listed(world: World, room: str) -> None:
    assert await world.api.ok("ListRooms", {"names": [room]}, lister()) == {"rooms": []}


async def test_a_room_that_closes_and_comes_back_is_another_room(world: World, room: str) -> None:
    async def sid() -> str:
        listed = await world.api.ok("ListRooms", {"names": [room]}, lister())
        return listed["rooms"][0]["sid"] if listed["rooms"] else ""

    await world.create_room(room)
    first = await sid()
    await world.close_room(room)
    assert await sid() == ""
    await world.create_room(room)
    assert await sid() not in ("", first)


async def test_a_room_counts_its_participants(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    await world.publish(room, "p")

    async def counted() -> bool:
        listed = await world.api.ok("ListRooms", {"names": [room]}, lister())
        return [(r["num_participants"], r["num_publishers"]) for r in listed["rooms"]] == [(1, 1)]

    # The real server updates its numbers every few seconds.
    await eventually(counted, "one participant, one publisher")


# Participants.


async def test_a_participant_is_found(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(
        room, "phone", kind="SIP", attributes={"sip.phoneNumber": "+49"}, metadata="meta", name="Hanna"
    )
    sid = await world.publish(room, "phone", "MICROPHONE", name="mic")
    found = await seen(world, room, "phone", sid)
    assert found["sid"].startswith("PA_")
    names = ("identity", "name", "state", "kind", "attributes", "metadata", "is_publisher")
    assert {name: found[name] for name in names} == {
        "identity": "phone",
        "name": "Hanna",
        "state": "ACTIVE",
        "kind": "SIP",
        "attributes": {"sip.phoneNumber": "+49"},
        "metadata": "meta",
        "is_publisher": True,
    }
    permission = found["permission"]
    assert permission["can_publish"] is permission["can_subscribe"] is permission["can_publish_data"] is True
    assert permission["can_publish_sources"] == []
    assert permission["hidden"] is False
    assert isinstance(found["joined_at"], str)


async def test_who_calls_through_a_connector_has_details(world: World, room: str) -> None:
    await world.create_room(room)
    details = ["FORWARDED", "CONNECTOR_TWILIO"]
    await world.join(room, "caller", kind="CONNECTOR", kind_details=details)
    found = await seen(world, room, "caller", await world.publish(room, "caller"))
    assert (found["kind"], found["kind_details"]) == ("CONNECTOR", details)


async def test_what_a_track_looks_like(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    sids = {
        source: await world.publish(room, "p", source, name=source.lower())
        for source in ("MICROPHONE", "UNKNOWN", "SCREEN_SHARE_AUDIO", "CAMERA")
    }
    found = await seen(world, room, "p", *sids.values())
    # Zero values are written out in answers: an audio track has its type, an open one its muted.
    tracks = {
        track["sid"]: (track["source"], track["type"], track["muted"], track["name"])
        for track in found["tracks"]
    }
    assert tracks == {
        sids["MICROPHONE"]: ("MICROPHONE", "AUDIO", False, "microphone"),
        sids["UNKNOWN"]: ("UNKNOWN", "AUDIO", False, "unknown"),
        sids["SCREEN_SHARE_AUDIO"]: ("SCREEN_SHARE_AUDIO", "AUDIO", False, "screen_share_audio"),
        sids["CAMERA"]: ("CAMERA", "VIDEO", False, "camera"),
    }


async def test_a_track_published_muted_is_muted_until_its_owner_opens_it(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    sid = await world.publish(room, "p", muted=True)
    found = await seen(world, room, "p", sid)
    assert found["tracks"][0]["muted"] is True
    await world.set_muted(room, "p", sid, False)
    await shows_muted(world, room, "p", sid, False)


async def test_participants_are_listed(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "a")
    await world.join(room, "b", kind="AGENT")
    sid = await world.publish(room, "a")
    await seen(world, room, "a", sid)
    listed = await world.api.ok("ListParticipants", {"room": room}, admin_of(room))
    found = {p["identity"]: (p["kind"], [t["sid"] for t in p["tracks"]]) for p in listed["participants"]}
    assert found == {"a": ("STANDARD", [sid]), "b": ("AGENT", [])}


async def test_a_room_that_is_not_there_has_no_participants(world: World, room: str) -> None:
    assert await world.api.ok("ListParticipants", {"room": room}, admin_of(room)) == {"participants": []}


@pytest.mark.parametrize("method", ["GetParticipant", "UpdateParticipant"])
@pytest.mark.parametrize("room_exists", [True, False])
async def test_a_participant_that_is_not_there(
    world: World, room: str, method: str, room_exists: bool
) -> None:
    if room_exists:
        await world.create_room(room)
    answer = await world.api.call(method, {"room": room, "identity": "nobody"}, admin_of(room))
    assert problem(answer) == (404, NO_PARTICIPANT)


async def test_who_left_is_not_there(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    await seen(world, room, "p")
    await world.leave(room, "p")

    async def gone() -> bool:
        answer = await world.api.call("GetParticipant", {"room": room, "identity": "p"}, admin_of(room))
        return answer.status_code == 404

    await eventually(gone, "p is gone")


@pytest.mark.parametrize("method", ["GetParticipant", "ListParticipants"])
async def test_a_room_that_is_asked_itself_and_is_not_there_takes_seconds_and_fails(
    world_without_unmute: World, room: str, method: str
) -> None:
    world = world_without_unmute
    answer = await world.api.call(method, {"room": room, "identity": "nobody"}, admin_of(room))
    assert problem(answer) == (503, NO_ANSWER)
    assert 2.5 < answer.elapsed.total_seconds() < 10


async def test_a_room_that_is_asked_itself_tells_who_is_in_it(world_without_unmute: World, room: str) -> None:
    world = world_without_unmute
    await world.create_room(room)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    assert (await seen(world, room, "p", sid))["identity"] == "p"
    answer = await world.api.call("GetParticipant", {"room": room, "identity": "nobody"}, admin_of(room))
    assert problem(answer) == (404, NO_PARTICIPANT)


# MutePublishedTrack.


@pytest.mark.parametrize("was", [False, True])
@pytest.mark.parametrize("muted", [False, True])
async def test_a_track_is_muted_and_unmuted(world: World, room: str, was: bool, muted: bool) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    # One call a track: a client that is muted says so itself a moment later, which can cross the next call.
    sid = await world.publish(room, "p", muted=was)
    answer = await world.api.ok("MutePublishedTrack", mute(room, "p", sid, muted), admin_of(room))
    track = answer["track"]
    assert (track["sid"], track["muted"], track["source"], track["type"]) == (
        sid,
        muted,
        "MICROPHONE",
        "AUDIO",
    )
    await shows_muted(world, room, "p", sid, muted)


async def test_a_participant_opens_what_a_server_muted(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    await world.api.ok("MutePublishedTrack", mute(room, "p", sid), admin_of(room))

    await shows_muted(world, room, "p", sid, True)

    async def opened() -> bool:
        # Again and again: the client may not yet know that it was muted.
        await world.set_muted(room, "p", sid, False)
        track = await world.api.track(room, "p", sid)
        return track is not None and track["muted"] is False

    await eventually(opened, "the participant opened its microphone again")


@pytest.mark.parametrize("muted", [True, False])
async def test_a_track_that_is_not_there_is_a_success_without_a_track(
    world: World, room: str, muted: bool
) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    body = mute(room, "p", "TR_not_there", muted)
    assert await world.api.ok("MutePublishedTrack", body, admin_of(room)) == {"track": None}


@pytest.mark.parametrize("room_exists", [True, False])
async def test_muting_who_is_not_there_takes_seconds_and_fails(
    world: World, room: str, room_exists: bool
) -> None:
    if room_exists:
        await world.create_room(room)
    answer = await world.api.call("MutePublishedTrack", mute(room, "nobody", "TR_x"), admin_of(room))
    assert problem(answer) == (503, NO_ANSWER)
    assert 2.5 < answer.elapsed.total_seconds() < 10


async def test_unmuting_where_the_server_forbids_it(world_without_unmute: World, room: str) -> None:
    world = world_without_unmute
    await world.create_room(room)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    await world.api.ok("MutePublishedTrack", mute(room, "p", sid), admin_of(room))
    answer = await world.api.call("MutePublishedTrack", mute(room, "p", sid, False), admin_of(room))
    expected = {"code": "failed_precondition", "msg": "twirp error unknown: remote unmute not enabled"}
    assert problem(answer) == (412, expected)
    await shows_muted(world, room, "p", sid, True)


# UpdateParticipant.


async def test_attributes_are_merged_and_an_empty_one_is_removed(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p", attributes={"role": "guest", "seat": "4"}, metadata="kept", name="Kept")
    body = {"room": room, "identity": "p", "attributes": {"role": "host", "seat": "", "hand": "up"}}
    answer = await world.api.ok("UpdateParticipant", body, admin_of(room))
    assert answer["attributes"] == {"role": "host", "hand": "up"}
    # What is not sent stays.
    assert (answer["metadata"], answer["name"]) == ("kept", "Kept")
    found = await seen(world, room, "p")
    assert found["attributes"] == {"role": "host", "hand": "up"}


async def test_metadata_and_name_are_replaced(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p", metadata="old", name="Old", attributes={"a": "1"})
    body = {"room": room, "identity": "p", "metadata": "new", "name": "New"}
    answer = await world.api.ok("UpdateParticipant", body, admin_of(room))
    assert (answer["metadata"], answer["name"], answer["attributes"]) == ("new", "New", {"a": "1"})


async def test_a_source_taken_away_unpublishes_its_tracks(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    microphone = await world.publish(room, "p", "MICROPHONE")
    nameless = await world.publish(room, "p", "UNKNOWN")
    camera = await world.publish(room, "p", "CAMERA")
    await seen(world, room, "p", microphone, nameless, camera)
    permission = {"can_subscribe": True, "can_publish": True, "can_publish_data": True}
    body = {"room": room, "identity": "p", "permission": permission | {"can_publish_sources": ["CAMERA"]}}
    answer = await world.api.ok("UpdateParticipant", body, admin_of(room))
    assert [track["sid"] for track in answer["tracks"]] == [camera]
    assert answer["permission"]["can_publish_sources"] == ["CAMERA"]
    await seen(world, room, "p", camera)
    unpublished = await world.receiver.wait(room, "track_unpublished", count=2)
    assert {delivery.event["track"]["sid"] for delivery in unpublished} == {microphone, nameless}


async def test_permissions_are_replaced_as_a_whole(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    await seen(world, room, "p", sid)
    body = {"room": room, "identity": "p", "permission": {"can_subscribe": True}}
    answer = await world.api.ok("UpdateParticipant", body, admin_of(room))
    permission = answer["permission"]
    assert (permission["can_subscribe"], permission["can_publish"], permission["can_publish_data"]) == (
        True,
        False,
        False,
    )
    found = await seen(world, room, "p")
    assert found["is_publisher"] is False


# SendData.


async def test_data_is_sent(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    body = {"room": room, "data": "aGk=", "kind": "RELIABLE", "topic": "t"}
    assert await world.api.ok("SendData", body, admin_of(room)) == {}
    # Nobody learns whether the one it was for is there.
    assert await world.api.ok("SendData", body | {"destination_identities": ["nobody"]}, admin_of(room)) == {}


async def test_data_to_a_room_that_is_not_there(world: World, room: str) -> None:
    answer = await world.api.call("SendData", {"room": room, "data": "aGk="}, admin_of(room))
    assert problem(answer) == (503, NO_ANSWER)
