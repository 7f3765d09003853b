"""Two worlds for the contract: the real livekit-server with real clients, and quell's double of it.

Both offer the same verbs, so that one test runs in both. What a verb does to the world is done by
other means in each; what the test looks at afterwards is the same API and the same webhooks.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import httpx
from livekit import rtc

from .client import Client, Kind
from .livekit_server import LiveKitServer
from .processes import Child, free_port
from .quell import executable
from .receiver import Receiver
from .twirp import RoomService, token


class World(Protocol):
    """A LiveKit, and what people do in it."""

    name: str
    api: RoomService
    receiver: Receiver

    async def create_room(self, room: str, metadata: str = "") -> None:
        """Makes a room."""

    async def close_room(self, room: str) -> None:
        """Ends a room, and with it everyone's stay."""

    async def join(
        self,
        room: str,
        identity: str,
        *,
        kind: str = "STANDARD",
        kind_details: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        metadata: str = "",
        name: str = "",
    ) -> None:
        """A participant joins."""

    async def publish(
        self, room: str, identity: str, source: str = "MICROPHONE", *, name: str = "mic", muted: bool = False
    ) -> str:
        """It publishes a track, muted from the first moment or not; returns the track's SID."""

    async def unpublish(self, room: str, identity: str, sid: str) -> None:
        """It takes the track back."""

    async def set_muted(self, room: str, identity: str, sid: str, muted: bool) -> None:
        """It mutes or unmutes itself."""

    async def leave(self, room: str, identity: str) -> None:
        """It leaves."""

    async def aclose(self) -> None:
        """Everyone leaves; the servers stay."""


class RealWorld:
    """livekit-server and LiveKit's own SDK."""

    name = "livekit-server"

    def __init__(self, server: LiveKitServer, receiver: Receiver) -> None:
        self.api = RoomService(server.url)
        self.receiver = receiver
        self._url = server.url
        self._clients: dict[tuple[str, str], Client] = {}

    async def create_room(self, room: str, metadata: str = "") -> None:
        await self.api.create_room(room, metadata)

    async def close_room(self, room: str) -> None:
        await self.api.ok("DeleteRoom", {"room": room}, token({"roomCreate": True}))

    async def join(
        self,
        room: str,
        identity: str,
        *,
        kind: str = "STANDARD",
        kind_details: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        metadata: str = "",
        name: str = "",
    ) -> None:
        self._clients[room, identity] = await Client.join(
            self._url,
            room,
            identity,
            kind=cast("Kind", kind.lower()),
            kind_details=[detail.lower() for detail in kind_details],
            attributes=attributes,
            metadata=metadata,
            name=name,
        )

    async def publish(
        self, room: str, identity: str, source: str = "MICROPHONE", *, name: str = "mic", muted: bool = False
    ) -> str:
        client = self._clients[room, identity]
        wire = rtc.TrackSource.Value(f"SOURCE_{source.replace('SCREEN_SHARE', 'SCREENSHARE')}")
        if source in ("CAMERA", "SCREEN_SHARE"):
            return await client.publish_video(wire, name=name)
        return await client.publish_tone(wire, name=name, muted=muted)

    async def unpublish(self, room: str, identity: str, sid: str) -> None:
        await self._clients[room, identity].unpublish(sid)

    async def set_muted(self, room: str, identity: str, sid: str, muted: bool) -> None:
        self._clients[room, identity].set_muted(sid, muted)

    async def leave(self, room: str, identity: str) -> None:
        await self._clients.pop((room, identity)).leave()

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.leave()
        await self.api.aclose()


class Double:
    """`quell simulator` as a process."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = [executable(), "simulator", "--port", str(self.port)]
        self._child = Child("simulator", arguments, os.environ, directory)
        self._child.wait_until(self._accepts)

    def _accepts(self) -> bool:
        try:
            return httpx.get(f"{self.url}/_sim/calls", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Ends it."""
        self._child.stop()


class DoubleWorld:
    """quell's double and the API that moves its puppets."""

    name = "double"

    def __init__(self, url: str, receiver: Receiver, *, remote_unmute: bool) -> None:
        self.api = RoomService(url)
        self.receiver = receiver
        self._http = httpx.AsyncClient(base_url=f"{url}/_sim", timeout=20)
        self._settings = {
            "enable_remote_unmute": remote_unmute,
            "psrpc_for_participants": not remote_unmute,
            "webhook_url": receiver.url,
        }

    async def open(self) -> None:
        """Sets the double to what this world says."""
        await self._do("PUT", "/settings", self._settings)
        await self._do("PUT", "/faults", [])

    async def create_room(self, room: str, metadata: str = "") -> None:
        await self._do("PUT", f"/rooms/{room}", {"metadata": metadata})

    async def close_room(self, room: str) -> None:
        await self._do("DELETE", f"/rooms/{room}")

    async def join(
        self,
        room: str,
        identity: str,
        *,
        kind: str = "STANDARD",
        kind_details: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        metadata: str = "",
        name: str = "",
    ) -> None:
        who = {"identity": identity, "kind": kind, "attributes": dict(attributes or {})}
        who |= {"kind_details": list(kind_details), "metadata": metadata, "name": name}
        await self._do("POST", f"/rooms/{room}/participants", who)

    async def publish(
        self, room: str, identity: str, source: str = "MICROPHONE", *, name: str = "mic", muted: bool = False
    ) -> str:
        kind = "VIDEO" if source in ("CAMERA", "SCREEN_SHARE") else "AUDIO"
        track = {"name": name, "type": kind, "source": source, "muted": muted}
        published = await self._do("POST", f"/rooms/{room}/participants/{identity}/tracks", track)
        return str(published["sid"])

    async def unpublish(self, room: str, identity: str, sid: str) -> None:
        await self._do("DELETE", f"/rooms/{room}/participants/{identity}/tracks/{sid}")

    async def set_muted(self, room: str, identity: str, sid: str, muted: bool) -> None:
        await self._do("PUT", f"/rooms/{room}/participants/{identity}/tracks/{sid}/muted", {"muted": muted})

    async def leave(self, room: str, identity: str) -> None:
        await self._do("DELETE", f"/rooms/{room}/participants/{identity}")

    async def aclose(self) -> None:
        await self._http.aclose()
        await self.api.aclose()

    async def _do(self, verb: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        response = await self._http.request(verb, path, content=content, headers=headers)
        assert response.is_success, f"{verb} {path} {body}: {response.status_code} {response.text}"
        return response.json() if response.content else None
