"""Reads what `check.py` compares: the database, the double's calls, and its tracks."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiohttp
import jwt
from check import Call, Job, Lease, Row, Seen, Stored, Told
from load import Track
from notifier import Journal
from support.livekit_server import API_KEY, API_SECRET
from support.postgres import rows

CALLS_MAX = 10_000
READ_EVERY_SECONDS = 3.0

STORED = """select event_id, event, coalesce(track_sid, '') as track, settlement,
                   extract(epoch from received_at)::float8 as received_at,
                   extract(epoch from settled_at)::float8 as settled_at
            from webhook_event"""
JOBS = "select event_id, state, coalesce(last_error, '') as error from job"
ROWS = """select action_id::text, phase, action, origin, track_sid as track, outcome, changed, event_id, request_id,
                 extract(epoch from started_at)::float8 as started_at,
                 extract(epoch from recorded_at)::float8 as recorded_at
          from audit_log where track_sid is not null order by started_at"""
OPEN = "select action_id::text from open_intent"
LEASES = """select action_id::text, leased_until < clock_timestamp() as is_over from track_lease
            where action_id is not null"""
# What is under way: until none is left, nothing can be compared.
UNDER_WAY = """select (select count(*) from job where state <> 'dead') as jobs,
                      (select count(*) from open_intent) as intents,
                      (select count(*) from track_lease where leased_until > clock_timestamp()) as leases"""


def under_way(database: str) -> dict[str, int]:
    """How much there is of each."""
    [counts] = rows(database, UNDER_WAY)
    return {name: int(str(count)) for name, count in counts.items()}


class CallLog:
    """The double's calls, read again and again: it keeps the latest 10,000 only."""

    def __init__(self, double_url: str, http: aiohttp.ClientSession) -> None:
        self._url = f"{double_url}/_sim/calls"
        self._http = http
        self._calls: dict[tuple[str, str, str], dict[str, Any]] = {}
        """By time (of nanoseconds), method and track. The status may come later than the call."""

    async def follow(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(READ_EVERY_SECONDS)

    async def read(self) -> None:
        """Reads what is new."""
        async with self._http.get(self._url) as answer:
            told = json.loads(await answer.read())
        keys = [(call["at"], call["method"], call["track_sid"]) for call in told]
        if len(told) >= CALLS_MAX and not any(key in self._calls for key in keys):
            raise RuntimeError("the double has forgotten calls: too many came since it was last asked")
        self._calls.update(zip(keys, told, strict=True))

    def mutes(self) -> list[Call]:
        """Those of MutePublishedTrack, in the order in which they came."""
        return [
            Call(call["track_sid"], bool(call["muted"]), call["status"], datetime.fromisoformat(call["at"]).timestamp())
            for call in self._calls.values()
            if call["method"] == "MutePublishedTrack" and call["track_sid"]
        ]


async def look(
    database: str, double_url: str, http: aiohttp.ClientSession, journal: Journal, calls: CallLog,
    tracks: Mapping[str, Track], rooms: Mapping[str, str],
) -> Seen:
    """Everything, as it is now."""
    await calls.read()
    return Seen(
        acknowledged={event.id: Told(event.name, event.track) for event in journal.acknowledged().values()},
        refused=[f"{d.event.name} {d.event.id} (by replica {d.replica}: {d.status})" for d in journal.refused()],
        tracks=tracks,
        muted=await _tracks(double_url, http, rooms),
        stored=[Stored(**_typed(row)) for row in rows(database, STORED)],
        jobs=[Job(**_typed(row)) for row in rows(database, JOBS)],
        rows=[Row(**_typed(row)) for row in rows(database, ROWS)],
        open_intents=[str(row["action_id"]) for row in rows(database, OPEN)],
        leases=[Lease(**_typed(row)) for row in rows(database, LEASES)],
        calls=calls.mutes(),
    )


def _typed(row: Mapping[str, object]) -> dict[str, Any]:
    return dict(row)


async def _tracks(double_url: str, http: aiohttp.ClientSession, rooms: Mapping[str, str]) -> dict[str, bool]:
    found = {}
    for room in rooms:
        grants = {"iss": API_KEY, "exp": 1 << 33, "video": {"roomAdmin": True, "room": room}}
        token = jwt.encode(grants, API_SECRET, algorithm="HS256")
        url = f"{double_url}/twirp/livekit.RoomService/ListParticipants"
        async with http.post(url, json={"room": room}, headers={"Authorization": f"Bearer {token}"}) as answer:
            told = json.loads(await answer.read())
        if "participants" not in told:
            raise RuntimeError(f"the double: participants of {room}: {told}")
        for participant in told["participants"]:
            found.update({str(t["sid"]): bool(t.get("muted", False)) for t in participant.get("tracks", [])})
    return found
