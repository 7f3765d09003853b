"""Two replicas that LiveKit tells of everything, of which one dies at each forbidden publish."""

import asyncio
import random
from collections.abc import Sequence

from .client import Client
from .livekit_server import LiveKitServer
from .processes import eventually
from .quell import Quell
from .told import tenant_room
from .twirp import RoomService

LIVEKIT_TIMEOUT_MS = "1000"
# A publish is told of after 25 to 80 ms, and muted some 5 ms later.
_DEATH_WITHIN_SECONDS = 0.12
# The track's end and the participant's.
_EVENTS_AFTER = 2


async def die_at_publishes(
    livekit: LiveKitServer, quells: Sequence[Quell], room: str, rounds: int, seed: int
) -> tuple[list[int], list[str]]:
    """Kills one of them (SIGKILL) at a random instant of each publish, and starts it again.

    Returns how many frames of 10 ms others heard of each, in the 150 after it, and the tracks' SIDs.
    """
    chance = random.Random(seed)
    api = RoomService(livekit.url)
    await api.create_room(room, tenant_room("acme"))
    ears = await Client.join(livekit.url, room, "ears")
    host = await Client.join(livekit.url, room, "host", attributes={"role": "host"}, listens=False)
    await host.publish_tone()
    await ears.hears("host")
    frames, tracks = [], []
    for number in range(rounds):
        who = f"attendee-{number}"
        attendee = await Client.join(livekit.url, room, who, attributes={"role": "attendee"}, listens=False)
        doomed = quells[chance.randrange(len(quells))]
        publishing = asyncio.create_task(attendee.publish_tone())
        await asyncio.sleep(chance.uniform(0, _DEATH_WITHIN_SECONDS))
        doomed.kill()
        tracks.append(await publishing)
        # The host's tone is the clock.
        await ears.hears("host", frames=150)
        frames.append(ears.heard[who].loud)
        await attendee.leave()
        doomed.start(livekit.url, QUELL_LIVEKIT_TIMEOUT_MS=LIVEKIT_TIMEOUT_MS)

        def is_told(quell: Quell = doomed) -> bool:
            # LiveKit sends what it could not deliver again after 1, 2, 4 s, and what is newer waits behind that.
            return quell.webhooks() >= _EVENTS_AFTER

        await eventually(is_told, f"{who}'s end is told")
    for client in (host, ears):
        await client.leave()
    await api.aclose()
    return frames, tracks
