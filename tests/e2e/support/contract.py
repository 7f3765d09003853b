"""What the tests of the contract look at answers with."""

from typing import Any

import httpx

from .processes import eventually
from .twirp import JSON, admin_of
from .worlds import World

DENIED = {"code": "unauthenticated", "msg": "permissions denied"}
NO_PARTICIPANT = {"code": "not_found", "msg": "twirp error unknown: participant does not exist"}
NO_ANSWER = {"code": "unavailable", "msg": "twirp error unknown: no response from servers"}


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
