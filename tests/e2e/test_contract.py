"""The contract of LiveKit's RoomService: quell's double is held to the real server by these tests.

Each test runs against both. Where the real server answers something odd, the oddity is the contract.
"""

import json
from typing import Any

import httpx
import pytest
from livekit.protocol import models, room as proto

from support.processes import eventually
from support.twirp import JSON, PROTOBUF, admin_of, lister, token
from support.worlds import World

DENIED = {"code": "unauthenticated", "msg": "permissions denied"}
NO_PARTICIPANT = {"code": "not_found", "msg": "twirp error unknown: participant does not exist"}
NO_ANSWER = {"code": "unavailable", "msg": "twirp error unknown: no response from servers"}


@pytest.fixture
def room(suffix: str) -> str:
    """A room of this test's own."""
    return f"contract-{suffix}"


def problem(response: httpx.Response) -> tuple[int, Any]:
    """An error of Twirp: JSON, whatever was asked in."""
    assert response.headers["content-type"] == JSON, response.text
    return response.status_code, response.json()


def refusal(response: httpx.Response) -> tuple[int, str]:
    """An error from before Twirp: bare text."""
    assert response.headers["content-type"] == "text/plain; charset=utf-8", response.text
    return response.status_code, response.text


async def seen(world: World, room: str, identity: str, *sids: str) -> dict[str, Any]:
    """The participant, once its tracks are there: the server's store follows a publish a little later."""
    found: dict[str, Any] = {}

    async def there() -> bool:
        answer = await world.api.call("GetParticipant", {"room": room, "identity": identity}, admin_of(room))
        found.clear()
        found.update(answer.json())
        return answer.status_code == 200 and {track["sid"] for track in found["tracks"]} == set(sids)

    await eventually(there, f"{identity} with exactly the tracks {sids}, seen as {found}")
    return found


async def shows_muted(world: World, room: str, identity: str, sid: str, muted: bool) -> None:
    """Waits until GetParticipant says so, which it does a little after the fact."""

    async def said() -> bool:
        track = await world.api.track(room, identity, sid)
        return track is not None and track["muted"] is muted

    await eventually(said, f"{sid} is shown with muted={muted}")


def mute(room: str, identity: str, sid: str, muted: bool = True) -> dict[str, object]:
    """The body of MutePublishedTrack."""
    return {"room": room, "identity": identity, "track_sid": sid, "muted": muted}


# --- rooms ---


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


# --- participants ---


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
        track["sid"]: (track["source"], track["type"], track["muted"], track["name"]) for track in found["tracks"]
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


# --- MutePublishedTrack ---


async def test_a_track_is_muted_and_unmuted(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    # The third call asks for what is so already.
    for muted in (True, False, True, True):
        answer = await world.api.ok("MutePublishedTrack", mute(room, "p", sid, muted), admin_of(room))
        track = answer["track"]
        assert (track["sid"], track["muted"], track["source"], track["type"]) == (
            sid,
            muted,
            "MICROPHONE",
            "AUDIO",
        )
    await shows_muted(world, room, "p", sid, True)


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


# --- UpdateParticipant ---


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


# --- SendData ---


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


# --- tokens ---

ROOM_METHODS = ["GetParticipant", "ListParticipants", "MutePublishedTrack", "UpdateParticipant", "SendData"]


@pytest.mark.parametrize("method", ROOM_METHODS)
@pytest.mark.parametrize(
    "grants",
    [
        pytest.param(None, id="no grants"),
        pytest.param({}, id="empty grants"),
        pytest.param({"roomList": True}, id="another grant"),
        pytest.param({"roomAdmin": True}, id="no room"),
        pytest.param({"roomAdmin": True, "room": "another-room"}, id="another room"),
        pytest.param({"roomAdmin": False, "room": "ROOM"}, id="no admin"),
    ],
)
async def test_a_token_must_grant_this_room(
    world: World, room: str, method: str, grants: dict[str, object] | None
) -> None:
    if grants and grants.get("room") == "ROOM":
        grants = grants | {"room": room}
    answer = await world.api.call(method, {"room": room, "identity": "p"}, token(grants))
    assert problem(answer) == (401, DENIED)


@pytest.mark.parametrize("grants", [None, {}, {"roomAdmin": True, "room": "r"}, {"roomCreate": True}])
async def test_listing_rooms_needs_its_own_grant(world: World, grants: dict[str, object] | None) -> None:
    assert problem(await world.api.call("ListRooms", {}, token(grants))) == (401, DENIED)


async def test_no_token(world: World) -> None:
    assert problem(await world.api.send("ListRooms", b"{}", None)) == (401, DENIED)


LIST = {"roomList": True}
NOT_BEARER = "invalid authorization header. Must start with Bearer "


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        pytest.param("Bearer nonsense", "invalid authorization token", id="no token at all"),
        pytest.param(lister(), NOT_BEARER, id="no Bearer"),
        pytest.param(f"bearer {lister()}", NOT_BEARER, id="bearer in lower case"),
        pytest.param(f"Bearer {token(LIST, key='other')}", "invalid API key: other", id="unknown key"),
        pytest.param(f"Bearer {token(LIST, secret='x' * 40)}", "signature is invalid", id="wrong secret"),
        pytest.param(f"Bearer {token(LIST, algorithm='HS512')}", "signing method HS512 is invalid", id="HS512"),
        pytest.param(f"Bearer {token(LIST, expires_in=-300)}", "token is expired", id="expired"),
        pytest.param(f"Bearer {token(LIST, not_before=3000)}", "token is not valid yet", id="not valid yet"),
    ],
)
async def test_a_token_that_cannot_be_trusted(world: World, authorization: str, message: str) -> None:
    status, text = refusal(await world.api.send("ListRooms", b"{}", authorization))
    assert status == 401
    # The real server also quotes the token; that much the double need not copy.
    assert text.endswith(message)


@pytest.mark.parametrize("times", [{"expires_in": -30}, {"not_before": 30}], ids=str)
async def test_clocks_may_differ_by_a_minute(world: World, times: dict[str, float]) -> None:
    await world.api.ok("ListRooms", {"names": ["none"]}, token(LIST, **times))


# --- the wire ---


async def test_protobuf_is_spoken_too(world: World, room: str) -> None:
    await world.create_room(room, "meta")
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    await seen(world, room, "p", sid)

    async def call(method: str, message: Any, bearer: str) -> bytes:
        answer = await world.api.send(method, message.SerializeToString(), f"Bearer {bearer}", PROTOBUF)
        assert (answer.status_code, answer.headers["content-type"]) == (200, PROTOBUF)
        return answer.content

    admin = admin_of(room)
    rooms = proto.ListRoomsResponse.FromString(
        await call("ListRooms", proto.ListRoomsRequest(names=[room]), lister())
    )
    assert [(r.name, r.metadata) for r in rooms.rooms] == [(room, "meta")]
    identity = proto.RoomParticipantIdentity(room=room, identity="p")
    found = models.ParticipantInfo.FromString(await call("GetParticipant", identity, admin))
    assert (found.identity, [track.sid for track in found.tracks]) == ("p", [sid])
    request = proto.MuteRoomTrackRequest(room=room, identity="p", track_sid=sid, muted=True)
    muted = proto.MuteRoomTrackResponse.FromString(await call("MutePublishedTrack", request, admin))
    assert (muted.track.sid, muted.track.muted) == (sid, True)
    request.track_sid = "TR_not_there"
    # Here clients stumble: a success without a single byte.
    assert await call("MutePublishedTrack", request, admin) == b""
    listed = proto.ListParticipantsResponse.FromString(
        await call("ListParticipants", proto.ListParticipantsRequest(room=room), admin)
    )
    assert [p.identity for p in listed.participants] == ["p"]


async def test_errors_are_json_in_protobuf_too(world: World, room: str) -> None:
    body = proto.RoomParticipantIdentity(room=room, identity="nobody").SerializeToString()
    answer = await world.api.send("GetParticipant", body, f"Bearer {admin_of(room)}", PROTOBUF)
    assert problem(answer) == (404, NO_PARTICIPANT)


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'{"names":1}'])
async def test_malformed_json(world: World, body: bytes) -> None:
    answer = await world.api.send("ListRooms", body, f"Bearer {lister()}")
    expected = {"code": "malformed", "msg": "the json request could not be decoded"}
    assert problem(answer) == (400, expected)


async def test_malformed_protobuf(world: World) -> None:
    answer = await world.api.send("ListRooms", b"\xff\xff", f"Bearer {lister()}", PROTOBUF)
    expected = {"code": "malformed", "msg": "the protobuf request could not be decoded"}
    assert problem(answer) == (400, expected)


@pytest.mark.parametrize(
    "body", [{"names": ["none"], "unknown": 1}, {"names": ["none"], "also unknown": {"deep": []}}], ids=str
)
async def test_unknown_fields_pass(world: World, body: dict[str, object]) -> None:
    assert await world.api.ok("ListRooms", body, lister()) == {"rooms": []}


async def test_fields_in_camel_case_pass(world: World, room: str) -> None:
    await world.create_room(room)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    body = {"room": room, "identity": "p", "trackSid": sid, "muted": True}
    answer = await world.api.ok("MutePublishedTrack", body, admin_of(room))
    assert answer["track"]["muted"] is True


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_content_types_that_pass(world: World, content_type: str) -> None:
    body = json.dumps({"names": ["none"]}).encode()
    answer = await world.api.send("ListRooms", body, f"Bearer {lister()}", content_type)
    assert (answer.status_code, answer.json()) == (200, {"rooms": []})


ROUTE = "/twirp/livekit.RoomService/ListRooms"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param({"verb": "GET"}, 'unsupported method "GET" (only POST is allowed)', id="GET"),
        pytest.param({"content_type": "text/plain"}, 'unexpected Content-Type: "text/plain"', id="text"),
        pytest.param({"content_type": None}, 'unexpected Content-Type: ""', id="no content type"),
        pytest.param(
            {"path": "/twirp/livekit.RoomService/Nothing"},
            'no handler for path "/twirp/livekit.RoomService/Nothing"',
            id="no such method",
        ),
    ],
)
async def test_a_bad_route(world: World, request_: dict[str, Any], message: str) -> None:
    answer = await world.api.send("ListRooms", b"{}", f"Bearer {lister()}", **request_)
    route = f"{request_.get('verb', 'POST')} {request_.get('path', ROUTE)}"
    expected = {"code": "bad_route", "msg": message, "meta": {"twirp_invalid_route": route}}
    assert problem(answer) == (404, expected)


@pytest.mark.parametrize("path", ["/twirp/livekit.NoService/ListRooms", "/twirp/nothing", "/nothing"])
async def test_no_such_page(world: World, path: str) -> None:
    answer = await world.api.send("ListRooms", b"{}", f"Bearer {lister()}", path=path)
    assert refusal(answer) == (404, "404 page not found\n")
