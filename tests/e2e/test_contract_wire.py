"""The contract of LiveKit's RoomService, continued: tokens, encodings, and requests that are wrong."""

import json
from typing import Any

import pytest
from livekit.protocol import models
from livekit.protocol import room as proto

from support.contract import DENIED, NO_PARTICIPANT, problem, refusal, seen
from support.twirp import PROTOBUF, admin_of, lister, token
from support.worlds import World

# Tokens.

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
        pytest.param(
            f"Bearer {token(LIST, algorithm='HS512')}", "signing method HS512 is invalid", id="HS512"
        ),
        pytest.param(f"Bearer {token(LIST, expires_in=-300)}", "token is expired", id="expired"),
        pytest.param(f"Bearer {token(LIST, not_before=3000)}", "token is not valid yet", id="not valid yet"),
    ],
)
async def test_a_token_that_cannot_be_trusted(world: World, authorization: str, message: str) -> None:
    status, text = refusal(await world.api.send("ListRooms", b"{}", authorization))
    assert status == 401
    # The real server also quotes the token; that much the double need not copy.
    assert text.endswith(message)


@pytest.mark.parametrize(("expires_in", "not_before"), [(-30, -60), (600, 30)])
async def test_clocks_may_differ_by_a_minute(world: World, expires_in: float, not_before: float) -> None:
    bearer = token(LIST, expires_in=expires_in, not_before=not_before)
    await world.api.ok("ListRooms", {"names": ["none"]}, bearer)


# The wire.


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
