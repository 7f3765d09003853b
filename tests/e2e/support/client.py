"""A real participant: it joins by LiveKit's own SDK, publishes a tone, and counts what it hears."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import jwt
import numpy as np
from livekit import api, rtc

from .livekit_server import API_KEY, API_SECRET
from .processes import eventually

Kind = Literal["standard", "egress", "ingress", "sip", "agent", "connector"]
SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = 480  # 10 ms
# Of 32767. A muted or silent track is exact zeros; a tone is several thousand.
LOUD_RMS = 10.0

Source = rtc.TrackSource


@dataclass
class Heard:
    """What came out of one participant's audio, in frames of 10 ms."""

    frames: int = 0
    loud: int = 0
    silent_in_a_row: int = 0

    def count(self, frame: rtc.AudioFrame) -> None:
        """Counts one frame."""
        samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float64)
        self.frames += 1
        if np.sqrt(np.mean(samples**2)) > LOUD_RMS:
            self.loud += 1
            self.silent_in_a_row = 0
        else:
            self.silent_in_a_row += 1


def join_token(
    room: str,
    identity: str,
    *,
    kind: Kind = "standard",
    kind_details: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
    metadata: str = "",
    name: str = "",
) -> str:
    """What a backend hands to a participant."""
    token = api.AccessToken(API_KEY, API_SECRET).with_identity(identity)
    # The SDK knows neither all kinds nor their details.
    token.claims.kind = kind
    token = token.with_attributes(dict(attributes or {})).with_metadata(metadata).with_name(name)
    signed = token.with_grants(api.VideoGrants(room_join=True, room=room)).to_jwt()
    if not kind_details:
        return signed
    claims = jwt.decode(signed, API_SECRET, algorithms=["HS256"]) | {"kindDetails": list(kind_details)}
    return jwt.encode(claims, API_SECRET, algorithm="HS256")


class Client:
    """One participant of one room."""

    def __init__(self, room: rtc.Room) -> None:
        self.room = room
        self.heard: defaultdict[str, Heard] = defaultdict(Heard)
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: dict[str, asyncio.Task[None]] = {}

    @classmethod
    async def join(
        cls,
        url: str,
        room: str,
        identity: str,
        *,
        kind: Kind = "standard",
        kind_details: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        metadata: str = "",
        name: str = "",
        listens: bool = True,
    ) -> Self:
        """Joins, and listens to everyone from then on, or to nobody."""
        client = cls(rtc.Room())
        client.room.on("track_subscribed", client._on_track)
        client.room.on("track_unsubscribed", client._on_track_gone)
        token = join_token(
            room,
            identity,
            kind=kind,
            kind_details=kind_details,
            attributes=attributes,
            metadata=metadata,
            name=name,
        )
        options = rtc.RoomOptions(auto_subscribe=listens)
        await client.room.connect(url.replace("http", "ws", 1), token, options)
        return client

    @property
    def identity(self) -> str:
        """Who this is."""
        return self.room.local_participant.identity

    async def publish_tone(
        self,
        source: "rtc.TrackSource.ValueType" = Source.SOURCE_MICROPHONE,
        *,
        name: str = "mic",
        muted: bool = False,
    ) -> str:
        """Publishes a tone that never ends; returns the track's SID.

        `muted` publishes the way a pre-join screen does: muted from the first moment.
        """
        audio = rtc.AudioSource(SAMPLE_RATE_HZ, 1, queue_size_ms=100)
        track = rtc.LocalAudioTrack.create_audio_track(name, audio)
        if muted:
            track.mute()
        self._start(self._play(audio))
        options = rtc.TrackPublishOptions(source=source)
        publication = await self.room.local_participant.publish_track(track, options)
        return publication.sid

    async def publish_video(
        self, source: "rtc.TrackSource.ValueType" = Source.SOURCE_CAMERA, *, name: str = "cam"
    ) -> str:
        """Publishes a small grey picture; returns the track's SID."""
        video = rtc.VideoSource(320, 240)
        track = rtc.LocalVideoTrack.create_video_track(name, video)
        self._start(self._show(video))
        options = rtc.TrackPublishOptions(source=source)
        publication = await self.room.local_participant.publish_track(track, options)
        return publication.sid

    def set_muted(self, sid: str, muted: bool) -> None:
        """Mutes or unmutes one's own track, as the button in an app does."""
        track = self.room.local_participant.track_publications[sid].track
        assert isinstance(track, rtc.LocalAudioTrack)
        if muted:
            track.mute()
        else:
            track.unmute()

    async def unpublish(self, sid: str) -> None:
        """Takes one's own track back."""
        await self.room.local_participant.unpublish_track(sid)

    async def hears(self, identity: str, frames: int = 30) -> None:
        """Waits until `frames` more frames of this participant were loud."""
        wanted = self.heard[identity].loud + frames
        await eventually(lambda: self.heard[identity].loud >= wanted, f"{self.identity} hears {identity}")

    async def hears_silence_from(self, identity: str, frames: int = 100) -> None:
        """Waits until the last `frames` frames that came from this participant were silent."""
        await eventually(
            lambda: self.heard[identity].silent_in_a_row >= frames,
            f"{self.identity} hears {identity} fall silent",
        )

    async def leave(self) -> None:
        """Leaves the room; harmless when it has left already."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.room.disconnect()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_track(
        self, track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if isinstance(track, rtc.RemoteAudioTrack):
            listening = self._listen(track, self.heard[participant.identity])
            self._listening[track.sid] = self._start(listening)

    def _on_track_gone(
        self, track: rtc.Track, _publication: rtc.RemoteTrackPublication, _participant: rtc.RemoteParticipant
    ) -> None:
        # Its stream would go on with silence, a hundred frames a second for each who has left.
        if listening := self._listening.pop(track.sid, None):
            listening.cancel()

    async def _listen(self, track: rtc.RemoteAudioTrack, heard: Heard) -> None:
        stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE_HZ, num_channels=1, frame_size_ms=10)
        try:
            async for event in stream:
                heard.count(event.frame)
        finally:
            await stream.aclose()

    @staticmethod
    async def _play(audio: rtc.AudioSource) -> None:
        # 400 Hz: a whole number of waves fits a frame, so that frames join without a click.
        phase = 2 * np.pi * 400 * np.arange(FRAME_SAMPLES) / SAMPLE_RATE_HZ
        tone = (np.sin(phase) * 8000).astype(np.int16).tobytes()
        while True:
            await audio.capture_frame(rtc.AudioFrame(tone, SAMPLE_RATE_HZ, 1, FRAME_SAMPLES))

    @staticmethod
    async def _show(video: rtc.VideoSource) -> None:
        picture = bytes([128]) * (320 * 240 * 4)
        while True:
            video.capture_frame(rtc.VideoFrame(320, 240, rtc.VideoBufferType.RGBA, picture))
            await asyncio.sleep(0.1)
