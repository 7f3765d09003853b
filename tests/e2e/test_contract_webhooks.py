"""The contract of LiveKit's webhooks, for the real server and for quell's double of it."""

import base64
import hashlib
import json
import re
from typing import Any

import jwt
import pytest

from support.livekit_server import API_KEY, API_SECRET
from support.receiver import Delivery
from support.twirp import admin_of
from support.worlds import World

# A shape: a key without "?" must be there, one with it may be, any other key must not. That is how
# zero values show: protojson leaves them out, so a key of theirs is in no shape.
INT64 = re.compile(r"[1-9]\d*")
TEXT = re.compile(r"(?s).+")
Shape = dict[str, Any]

ROOM: Shape = {
    "sid": re.compile("RM_.+"),
    "name": TEXT,
    "emptyTimeout": int,
    "departureTimeout": int,
    "creationTime": INT64,
    "creationTimeMs": INT64,
    "turnPassword": TEXT,
    "enabledCodecs": list,
    "metadata": TEXT,
    "numParticipants?": int,
    "numPublishers?": int,
}
PERMISSION: Shape = {"canSubscribe": True, "canPublish": True, "canPublishData": True}
# What depends on the client's own software.
SOFTWARE: Shape = {"clientProtocol?": int, "capabilities?": list}
PARTICIPANT: Shape = SOFTWARE | {
    "sid": re.compile("PA_.+"),
    "identity": "phone",
    "state": "ACTIVE",
    "metadata": "meta",
    "joinedAt": INT64,
    "joinedAtMs": INT64,
    "name": "Hanna",
    "version": int,
    "permission": PERMISSION,
    "kind": "SIP",
    "attributes": {"role": "guest"},
}
PLAIN_PARTICIPANT: Shape = {
    key: value for key, value in PARTICIPANT.items() if key not in ("metadata", "name", "kind", "attributes")
}
ROOM_IN_SHORT: Shape = {"sid": re.compile("RM_.+"), "name": TEXT}
PARTICIPANT_IN_SHORT: Shape = {"sid": re.compile("PA_.+"), "identity": TEXT}
# Media of a real client: the double has none of its own to tell of.
MEDIA: Shape = {"mid?": TEXT, "codecs?": list, "stream?": TEXT, "version?": dict}
AUDIO: Shape = MEDIA | {
    "sid": re.compile("TR_.+"),
    "name": TEXT,
    "mimeType": re.compile("audio/.+"),
    "backupCodecPolicy?": TEXT,
}
VIDEO: Shape = MEDIA | {
    "sid": re.compile("TR_.+"),
    "type": "VIDEO",
    "name": TEXT,
    "source": "CAMERA",
    "mimeType": re.compile("video/.+"),
    "width?": int,
    "height?": int,
    "layers?": list,
}


def misfits(value: Any, shape: Any, path: str = "") -> list[str]:
    """What in `value` is not as `shape` says."""
    if isinstance(shape, dict) and isinstance(value, dict):
        wanted = {key.removesuffix("?"): inner for key, inner in shape.items()}
        missing = [key for key in shape if not key.endswith("?") and key not in value]
        return (
            [f"{path}.{key} is missing" for key in missing]
            + [f"{path}.{key} is too much: {value[key]!r}" for key in value if key not in wanted]
            + [
                fault
                for key in value
                if key in wanted
                for fault in misfits(value[key], wanted[key], f"{path}.{key}")
            ]
        )
    if isinstance(shape, re.Pattern):
        fits = isinstance(value, str) and shape.fullmatch(value) is not None
    elif isinstance(shape, type):
        # A bool is an int to Python, and 0 or empty is what protojson leaves out.
        fits = type(value) is shape and bool(value)
    else:
        fits = type(value) is type(shape) and value == shape
    return [] if fits else [f"{path} is {value!r}, not {shape!r}"]


def check(delivery: Delivery, **shape: Any) -> None:
    """The event has exactly this shape, its envelope included."""
    envelope = {"event": TEXT, "id": re.compile("EV_.+"), "createdAt": INT64}
    assert misfits(delivery.event, envelope | shape) == []


def check_signature(delivery: Delivery) -> None:
    """The request is signed as LiveKit signs."""
    assert delivery.headers["content-type"] == "application/webhook+json"
    bare = delivery.headers["authorization"]
    # No "Bearer": a JWT and nothing else.
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", bare)
    assert jwt.get_unverified_header(bare) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(bare, API_SECRET, algorithms=["HS256"])
    assert claims.keys() == {"iss", "exp", "nbf", "iat", "sha256"}
    assert claims["iss"] == API_KEY
    assert claims["exp"] - claims["nbf"] == 300
    assert claims["iat"] == claims["nbf"]
    assert abs(claims["iat"] - int(delivery.event["createdAt"])) <= 1
    assert claims["sha256"] == base64.b64encode(hashlib.sha256(delivery.body).digest()).decode()


METADATA = json.dumps({"auth_id": "acme", "title": "Ümläut <&>"})


async def test_the_life_of_a_room(world: World, room: str) -> None:
    await world.create_room(room, METADATA)
    [started] = await world.receiver.wait(room, "room_started")
    check(started, room=ROOM | {"metadata": METADATA})

    await world.join(room, "phone", kind="SIP", attributes={"role": "guest"}, metadata="meta", name="Hanna")
    [joined] = await world.receiver.wait(room, "participant_joined")
    check(joined, room=ROOM | {"metadata": METADATA}, participant=PARTICIPANT)

    sid = await world.publish(room, "phone", "MICROPHONE", name="mic")
    [published] = await world.receiver.wait(room, "track_published")
    microphone = AUDIO | {"sid": sid, "name": "mic", "source": "MICROPHONE"}
    check(published, room=ROOM_IN_SHORT, participant=PARTICIPANT_IN_SHORT, track=microphone)

    await world.unpublish(room, "phone", sid)
    [unpublished] = await world.receiver.wait(room, "track_unpublished")
    check(unpublished, room=ROOM_IN_SHORT, participant=PARTICIPANT_IN_SHORT, track=microphone)

    await world.leave(room, "phone")
    [left] = await world.receiver.wait(room, "participant_left")
    gone = PARTICIPANT | {
        "state": "DISCONNECTED",
        "disconnectReason": "CLIENT_INITIATED",
        "isPublisher?": True,
    }
    check(left, room=ROOM | {"metadata": METADATA}, participant=gone)

    await world.close_room(room)
    [finished] = await world.receiver.wait(room, "room_finished")
    check(finished, room=ROOM | {"metadata": METADATA})

    deliveries = world.receiver.of(room)
    assert [delivery.event["event"] for delivery in deliveries] == [
        "room_started",
        "participant_joined",
        "track_published",
        "track_unpublished",
        "participant_left",
        "room_finished",
    ]
    for delivery in deliveries:
        check_signature(delivery)
    assert len({delivery.event["id"] for delivery in deliveries}) == len(deliveries)
    assert len({delivery.event["room"]["sid"] for delivery in deliveries}) == 1
    people = [delivery for delivery in deliveries if "participant" in delivery.event]
    assert len({delivery.event["participant"]["sid"] for delivery in people}) == 1


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        # No source at all on the wire: that is how UNKNOWN looks.
        pytest.param("UNKNOWN", AUDIO, id="UNKNOWN"),
        pytest.param("SCREEN_SHARE_AUDIO", AUDIO | {"source": "SCREEN_SHARE_AUDIO"}, id="SCREEN_SHARE_AUDIO"),
        pytest.param("CAMERA", VIDEO, id="CAMERA"),
        pytest.param("SCREEN_SHARE", VIDEO | {"source": "SCREEN_SHARE"}, id="SCREEN_SHARE"),
    ],
)
async def test_published_tracks(world: World, room: str, source: str, shape: Shape) -> None:
    await world.create_room(room, METADATA)
    await world.join(room, "p")
    sid = await world.publish(room, "p", source, name="a track")
    [published] = await world.receiver.wait(room, "track_published")
    track = shape | {"sid": sid, "name": "a track"}
    check(published, room=ROOM_IN_SHORT, participant=PARTICIPANT_IN_SHORT | {"identity": "p"}, track=track)


async def test_a_track_that_is_published_muted(world: World, room: str) -> None:
    await world.create_room(room, METADATA)
    await world.join(room, "p")
    await world.publish(room, "p", muted=True)
    [published] = await world.receiver.wait(room, "track_published")
    assert published.event["track"]["muted"] is True


async def test_someone_without_name_metadata_or_attributes(world: World, room: str) -> None:
    await world.create_room(room, METADATA)
    await world.join(room, "p")
    [joined] = await world.receiver.wait(room, "participant_joined")
    check(joined, room=ROOM, participant=PLAIN_PARTICIPANT | {"identity": "p"})


async def test_no_webhook_tells_of_mutes_or_changes(world: World, room: str) -> None:
    await world.create_room(room, METADATA)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    await world.receiver.wait(room, "track_published")
    await world.set_muted(room, "p", sid, True)
    await world.set_muted(room, "p", sid, False)
    who = {"room": room, "identity": "p"}
    await world.api.ok("MutePublishedTrack", who | {"track_sid": sid, "muted": True}, admin_of(room))
    await world.api.ok("UpdateParticipant", who | {"attributes": {"a": "1"}}, admin_of(room))
    # Webhooks of a room come in order: whatever those had sent would be before this one.
    await world.unpublish(room, "p", sid)
    await world.receiver.wait(room, "track_unpublished")
    assert [delivery.event["event"] for delivery in world.receiver.of(room)] == [
        "room_started",
        "participant_joined",
        "track_published",
        "track_unpublished",
    ]


async def test_a_room_that_closes_sends_everyone_away_first(world: World, room: str) -> None:
    await world.create_room(room, METADATA)
    await world.join(room, "p")
    sid = await world.publish(room, "p")
    await world.receiver.wait(room, "track_published")
    await world.close_room(room)
    await world.receiver.wait(room, "room_finished")
    [left] = world.receiver.of(room, "participant_left")
    assert left.event["participant"]["disconnectReason"] == "ROOM_DELETED"
    [unpublished] = world.receiver.of(room, "track_unpublished")
    assert unpublished.event["track"]["sid"] == sid
    assert world.receiver.of(room)[-1].event["event"] == "room_finished"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_failed_delivery_is_sent_again_as_it_was(world: World, room: str, status: int) -> None:
    world.receiver.answer(lambda delivery: delivery.room == room, status, status)
    await world.create_room(room, METADATA)
    first, second, third = await world.receiver.wait(room, "room_started", count=3)
    assert first.body == second.body == third.body
    assert first.headers["authorization"] == second.headers["authorization"] == third.headers["authorization"]
    assert 0.8 < second.at - first.at < 1.8
    assert 1.8 < third.at - second.at < 3.5


async def test_the_next_event_of_a_room_waits_for_the_one_before(world: World, room: str) -> None:
    world.receiver.answer(lambda delivery: delivery.room == room, 500)
    await world.create_room(room, METADATA)
    await world.join(room, "p")
    await world.receiver.wait(room, "participant_joined")
    assert [delivery.event["event"] for delivery in world.receiver.of(room)] == [
        "room_started",
        "room_started",
        "participant_joined",
    ]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 501])
async def test_a_refused_delivery_is_not_sent_again(world: World, room: str, status: int) -> None:
    world.receiver.answer(lambda delivery: delivery.room == room, status)
    await world.create_room(room, METADATA)
    await world.join(room, "p")
    # The next one comes, so the first one is over.
    await world.receiver.wait(room, "participant_joined")
    assert len(world.receiver.of(room, "room_started")) == 1
