"""What a site says came of something: LiveKit of a track, quell of an event and in its audit."""

import json
from typing import Any

from .postgres import rows as query
from .processes import eventually
from .site import Site
from .twirp import RoomService


def tenant_room(tenant: str) -> str:
    """The metadata that makes a room a tenant's."""
    return json.dumps({"auth_id": tenant})


async def history(site: Site, room: str, count: int) -> list[dict[str, Any]]:
    """The room's rows of the public view, once there are `count` settled ones."""
    found: list[dict[str, Any]] = []

    def settled() -> bool:
        found[:] = query(
            site.quell.database_url,
            "select * from moderation_history where room_name = %(room)s order by started_at",
            room=room,
        )
        return len(found) >= count and all(row["outcome"] != "unsettled" for row in found)

    await eventually(settled, f"{count} settled actions in {room}, found {found}")
    assert len(found) == count, found
    return found


def audit_of(site: Site, track: str) -> list[dict[str, Any]]:
    """The track's rows of the public view, as they are now: all of them, once its event is settled."""
    return query(
        site.quell.database_url,
        "select * from moderation_history where track_sid = %(track)s order by started_at",
        track=track,
    )


def facts_of(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """Some columns of a row."""
    return {name: row[name] for name in names}


async def is_muted(rooms: RoomService, room: str, identity: str, sid: str) -> bool:
    """Whether LiveKit says so."""
    track = await rooms.track(room, identity, sid)
    return bool(track and track["muted"])


async def settled(site: Site, track: str) -> dict[str, Any]:
    """What came of the webhook of a publish: it is stored with the event, muted or not."""
    found: list[dict[str, Any]] = []

    def is_settled() -> bool:
        found[:] = query(
            site.quell.database_url,
            "select settlement, facts, decision from webhook_event"
            " where track_sid = %(track)s and event = 'track_published' and settlement is not null",
            track=track,
        )
        return bool(found)

    await eventually(is_settled, f"the event of {track} settles")
    assert found[0]["facts"] is not None
    assert found[0]["decision"] is not None
    return found[0]


async def settlement(site: Site, track: str) -> str:
    """How it settled."""
    return str((await settled(site, track))["settlement"])
