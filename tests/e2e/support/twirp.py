"""LiveKit's RoomService over bare HTTP, so that tests see statuses, headers and bytes."""

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt

from .livekit_server import API_KEY, API_SECRET

JSON = "application/json"
PROTOBUF = "application/protobuf"


def token(
    video: Mapping[str, object] | None,
    *,
    key: str = API_KEY,
    secret: str = API_SECRET,
    expires_in: float = 600,
    not_before: float = 0,
    algorithm: str = "HS256",
) -> str:
    """A server's token with these grants."""
    now = time.time()
    claims: dict[str, object] = {"iss": key, "nbf": int(now + not_before), "exp": int(now + expires_in)}
    if video is not None:
        claims["video"] = dict(video)
    return jwt.encode(claims, secret, algorithm=algorithm)


def admin_of(room: str) -> str:
    """What quell sends: the right to act on one room."""
    return token({"roomAdmin": True, "room": room})


def lister() -> str:
    """The right to list rooms."""
    return token({"roomList": True})


class RoomService:
    """Calls by hand."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=20)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        body: bytes,
        authorization: str | None,
        content_type: str | None = JSON,
        *,
        verb: str = "POST",
        path: str | None = None,
    ) -> httpx.Response:
        """Sends exactly this."""
        headers = {}
        if authorization is not None:
            headers["Authorization"] = authorization
        if content_type is not None:
            headers["Content-Type"] = content_type
        path = path or f"/twirp/livekit.RoomService/{method}"
        return await self._http.request(verb, path, content=body, headers=headers)

    async def call(self, method: str, body: Mapping[str, object], bearer: str) -> httpx.Response:
        """Calls with JSON."""
        return await self.send(method, json.dumps(body).encode(), f"Bearer {bearer}")

    async def ok(self, method: str, body: Mapping[str, object], bearer: str) -> Any:
        """Calls with JSON and returns the answer, which must be a success."""
        response = await self.call(method, body, bearer)
        assert response.status_code == 200, f"{method} {body}: {response.status_code} {response.text}"
        return response.json()

    async def create_room(self, name: str, metadata: str = "") -> dict[str, Any]:
        """Makes a room."""
        body = {"name": name, "metadata": metadata}
        return dict(await self.ok("CreateRoom", body, token({"roomCreate": True})))

    async def participant(self, room: str, identity: str) -> dict[str, Any]:
        """One participant as the server sees it."""
        body = {"room": room, "identity": identity}
        return dict(await self.ok("GetParticipant", body, admin_of(room)))

    async def track(self, room: str, identity: str, sid: str) -> dict[str, Any] | None:
        """One track as the server sees it; none where it is not there."""
        participant = await self.participant(room, identity)
        return next((track for track in participant["tracks"] if track["sid"] == sid), None)
