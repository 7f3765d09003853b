"""What goes on in LiveKit's rooms: people come, publish, take back and leave, and moderators have their say.

Each room has dice of its own, so that the same seed asks for the same things, however long each takes.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from support.quell import SECRETS

TENANTS = ("acme", "globex")
PEOPLE_MAX = 12
# The policies in force; `forbidden` below is the same in Python.
POLICIES: list[dict[str, object]] = [
    {
        "name": "attendees-listen",
        "match": {"room": ["chaos-*"], "identity": ["attendee-*"], "source": ["MICROPHONE"]},
        "effect": "mute",
    },
    # A tenant's own: quell has to ask LiveKit whose room it is, for every track.
    {
        "name": "no-shared-sound",
        "owner": "acme",
        "match": {"identity": ["attendee-*"], "source": ["SCREEN_SHARE_AUDIO"]},
        "effect": "mute",
    },
]
SOURCES = {"MICROPHONE": "AUDIO", "CAMERA": "VIDEO", "SCREEN_SHARE_AUDIO": "AUDIO"}


def forbidden(tenant: str, identity: str, source: str) -> bool:
    """What the policies above come to."""
    if not identity.startswith("attendee-"):
        return False
    return source == "MICROPHONE" or source == "SCREEN_SHARE_AUDIO" and tenant == "acme"


@dataclass(frozen=True)
class Word:
    """What a person asked for over REST, and was answered."""

    request_id: str
    muted: bool
    status: int
    """0: no answer."""


@dataclass
class Track:
    """One track that somebody published."""

    sid: str
    room: str
    identity: str
    source: str
    forbidden: bool
    is_over: bool = False
    """Taken back, or its participant left."""
    words: list[Word] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, str, str]:
        """What one action at a time may be about."""
        return (self.room, self.identity, self.source)


class Load:
    """Rooms at work until told to stop."""

    def __init__(
        self, double_url: str, http: aiohttp.ClientSession, seed: str, rooms: int, per_second: float,
        quell_urls: Sequence[str], *, tracks_a_source: int,
    ) -> None:
        self.tracks: dict[str, Track] = {}
        self.rooms = {f"chaos-{number}": TENANTS[number % len(TENANTS)] for number in range(rooms)}
        self._sim = f"{double_url}/_sim"
        self._http = http
        self._seed = seed
        self._pause = rooms / per_second
        self._quell_urls = quell_urls
        self._tracks_a_source = tracks_a_source
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._words: set[asyncio.Task[None]] = set()
        self._requests = 0

    def start(self) -> None:
        """Opens the rooms."""
        self._tasks = [asyncio.create_task(self._room(name)) for name in self.rooms]

    async def stop(self) -> None:
        """Nothing new happens; what is under way is waited for."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*self._words)

    async def abort(self) -> None:
        """Ends all that goes on; harmless where it has ended."""
        tasks = [*self._tasks, *self._words]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _room(self, room: str) -> None:
        dice = random.Random(f"{self._seed}/{room}")
        tenant = self.rooms[room]
        await self._do("PUT", f"/rooms/{room}", {"metadata": json.dumps({"auth_id": tenant})})
        here: list[str] = []
        comers = 0
        while not self._stopping.is_set():
            what = dice.random()
            if not here or what < 0.2 and len(here) < PEOPLE_MAX:
                comers += 1
                who = ("attendee" if dice.random() < 0.7 else "host") + f"-{comers}"
                here.append(who)
                await self._do("POST", f"/rooms/{room}/participants", {"identity": who})
            elif what < 0.75:
                await self._publish(room, tenant, dice.choice(here), dice.choice([*SOURCES, "MICROPHONE"]))
            elif what < 0.83:
                await self._take_back(room, dice)
            elif what < 0.9 and len(here) > 2:
                await self._leave(room, here.pop(0))
            else:
                self._speak(room, tenant, dice)
            await self._wait(dice.expovariate(1 / self._pause))

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _publish(self, room: str, tenant: str, identity: str, source: str) -> None:
        place = (room, identity, source)
        before = [t for t in self.tracks.values() if not t.is_over and t.place == place]
        if len(before) >= self._tracks_a_source:
            await self._unpublish(before[0])
        body = {"type": SOURCES[source], "source": source, "name": source.lower()}
        told = await self._do("POST", f"/rooms/{room}/participants/{identity}/tracks", body)
        sid = str(told["sid"])
        self.tracks[sid] = Track(sid, room, identity, source, forbidden(tenant, identity, source))

    async def _take_back(self, room: str, dice: random.Random) -> None:
        live = [track for track in self.tracks.values() if track.room == room and not track.is_over]
        if live:
            await self._unpublish(dice.choice(live))

    async def _unpublish(self, track: Track) -> None:
        track.is_over = True
        await self._do("DELETE", f"/rooms/{track.room}/participants/{track.identity}/tracks/{track.sid}")

    async def _leave(self, room: str, identity: str) -> None:
        for track in self.tracks.values():
            if track.room == room and track.identity == identity:
                track.is_over = True
        await self._do("DELETE", f"/rooms/{room}/participants/{identity}")

    def _speak(self, room: str, tenant: str, dice: random.Random) -> None:
        """A moderator unmutes somebody, or mutes: one at a time on a track, so that the last word is known."""
        live = [
            track for track in self.tracks.values()
            if track.room == room and not track.is_over and (not track.words or track.words[-1].status)
        ]
        muted, replica = dice.random() < 0.4, dice.randrange(len(self._quell_urls))
        if not live:
            return
        track = dice.choice(live)
        self._requests += 1
        word = Word(f"chaos-{self._requests}", muted, 0)
        track.words.append(word)
        task = asyncio.create_task(self._say(track, len(track.words) - 1, tenant, self._quell_urls[replica]))
        self._words.add(task)
        task.add_done_callback(self._words.discard)

    async def _say(self, track: Track, place: int, tenant: str, quell_url: str) -> None:
        word = track.words[place]
        body = {
            "room_name": track.room, "participant_identity": track.identity,
            "track_sid": track.sid, "muted": word.muted,
        }
        headers = {"Authorization": f"Bearer {SECRETS[tenant]}", "X-Request-Id": word.request_id}
        url = f"{quell_url}/livekit/participant/mute"
        try:
            limit = aiohttp.ClientTimeout(total=30)
            async with self._http.post(url, json=body, headers=headers, timeout=limit) as answer:
                track.words[place] = Word(word.request_id, word.muted, answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError):
            # Nobody knows what came of it: it stays without an answer, and nobody speaks on this track any more.
            return

    async def _do(self, verb: str, path: str, body: object = None) -> Any:
        async with self._http.request(verb, f"{self._sim}{path}", json=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"the double: {verb} {path}: {answer.status} {await answer.text()}")
            text = await answer.read()
            return json.loads(text) if text else None


