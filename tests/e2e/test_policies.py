"""Conditions, windows and exemptions decide about real participants by what LiveKit really tells."""

import json
import statistics
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from support.client import Source
from support.postgres import rows
from support.quell import Quell
from support.site import Join, Site
from support.told import audit_of, facts_of, is_muted, settled, tenant_room
from support.twirp import RoomService

pytestmark = pytest.mark.livekit

NOTHING = "nothing"


def full_name(policy: dict[str, Any]) -> str:
    """A policy as a decision names it: `acme/quiet@2`, or `quiet@2` of the operator."""
    owner = f"{policy['owner']}/" if policy["owner"] else ""
    return f"{owner}{policy['name']}@{policy['revision']}"


async def decided(site: Site, rooms: RoomService, room: str, identity: str, track: str) -> str:
    """What the policies decided, once the track is muted and audited as they say, or neither."""
    event = await settled(site, track)
    enforced: dict[str, Any] = event["decision"]["enforced"]
    is_mute = enforced["verdict"] == "mute"
    assert event["settlement"] == ("muted" if is_mute else "nothing")
    assert await is_muted(rooms, room, identity, track) is is_mute
    audited = audit_of(site, track)
    if is_mute:
        assert len(audited) == 1, audited
        [row] = audited
        by = enforced["policy"]
        columns = ("origin", "action", "outcome", "identity", "policy_owner", "policy_name", "policy_revision")
        assert list(facts_of(row, *columns).values()) == [
            *("webhook", "mute", "done", identity),
            *(by["owner"], by["name"], by["revision"]),
        ]
        return f"muted by {full_name(by)}"
    if exempted := enforced.get("exempted"):
        [row] = audited
        by = exempted["by"]
        columns = ("action", "outcome", "policy_owner", "policy_name", "policy_revision")
        assert list(facts_of(row, *columns).values()) == ["exempt", "done", by["owner"], by["name"], by["revision"]]
        assert row["after"]["exempted_from"]["name"] == exempted["mute"]["name"]
        return f"exempted from {full_name(exempted['mute'])} by {full_name(exempted['by'])}: {exempted['reason']}"
    assert audited == []
    return NOTHING


LECTURE = {"auth_id": "acme", "phase": "lecture"}
PUPIL = {"school.role": "pupil"}


@pytest.mark.parametrize(
    ("why", "metadata", "identity", "who", "track", "muted"),
    [
        ("a pupil", LECTURE, "ada", {}, {}, True),
        ("without a source", LECTURE, "ada", {}, {"source": Source.SOURCE_UNKNOWN}, True),
        ("a stage without seats", LECTURE, "ada", {"metadata": '{"seats": {"stage": "2"}}'}, {}, True),
        ("another phase", LECTURE | {"phase": "questions"}, "ada", {}, {}, False),
        ("no phase", {"auth_id": "acme"}, "ada", {}, {}, False),
        ("the teacher's identity", LECTURE, "teacher-1", {}, {}, False),
        ("the teacher's name", LECTURE, "ada", {"name": "Ms Lovelace"}, {}, False),
        ("another role", LECTURE, "ada", {"attributes": {"school.role": "guest"}}, {}, False),
        ("no role", LECTURE, "ada", {"attributes": {}}, {}, False),
        ("on the stage", LECTURE, "ada", {"metadata": '{"seats": {"stage": 2}}'}, {}, False),
        ("a phone", LECTURE, "ada", {"kind": "sip"}, {}, False),
        ("a screen's sound", LECTURE, "ada", {}, {"source": Source.SOURCE_SCREENSHARE_AUDIO}, False),
        ("a track's name", LECTURE, "ada", {}, {"name": "baby-monitor"}, False),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
async def test_an_expression_decides_by_what_livekit_tells(
    site: Site,
    rooms: RoomService,
    join: Join,
    suffix: str,
    why: str,
    metadata: dict[str, Any],
    identity: str,
    who: dict[str, Any],
    track: dict[str, Any],
    muted: bool,
) -> None:
    room = f"lecture-{suffix}"
    await rooms.create_room(room, json.dumps(metadata))
    client = await join(site.livekit.url, room, identity, **({"attributes": PUPIL} | who))
    sid = await client.publish_tone(**track)
    decision = await decided(site, rooms, room, identity, sid)
    assert decision == ("muted by lecture-is-on@1" if muted else NOTHING), why


def window(opened_hours_ago: float, hours: int) -> dict[str, str]:
    """A window that opens every day at the minute of so long ago, by clocks that never change."""
    clocks = timezone(timedelta(hours=5, minutes=30))
    opens = (datetime.now(UTC) - timedelta(hours=opened_hours_ago)).astimezone(clocks)
    return {
        "cron": f"{opens.minute} {opens.hour} * * *",
        "duration": f"{hours}h",
        "timezone": "Asia/Kolkata",
    }


# Both are so for an hour to come. By UTC's clocks it would be the other way round.
OPEN, CLOSED = window(opened_hours_ago=2, hours=4), window(opened_hours_ago=7, hours=4)


async def test_an_open_window_mutes_a_closed_one_does_not_and_a_change_counts_at_once(
    site: Site, rooms: RoomService, join: Join, suffix: str
) -> None:
    room = f"lounge-{suffix}"
    await rooms.create_room(room, tenant_room("acme"))
    client = await join(site.livekit.url, room, "ada")
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    over, later = (now - hour).isoformat(), (now + hour).isoformat()
    closed, quiet = f"closed-{suffix}", f"quiet-{suffix}"
    base = {"owner": "acme", "match": {"room": [room], "type": "AUDIO"}, "effect": "mute"}
    steps: list[tuple[dict[str, Any], int, bool]] = [
        ({"active": [OPEN]}, 1, True),
        ({"active": [CLOSED]}, 2, False),
        ({"active": [CLOSED, OPEN]}, 3, True),
        ({"active": [OPEN], "not_before": later}, 4, False),
        ({"not_before": over, "not_after": later, "first": "10m"}, 5, True),
        ({"not_after": over}, 6, False),
        ({}, 7, True),
    ]
    for when, revision, muted in steps:
        # The one that is never in force has the higher priority: it would be the one to be named.
        never = base | {"name": closed, "active": [CLOSED], "priority": 900}
        await site.quell.apply([never, base | {"name": quiet} | when])
        track = await client.publish_tone()
        decision = await decided(site, rooms, room, "ada", track)
        assert decision == (f"muted by acme/{quiet}@{revision}" if muted else NOTHING), when
        await client.unpublish(track)


async def test_a_change_is_in_force_on_every_replica_within_a_second(
    site: Site, suffix: str, tmp_path: Path
) -> None:
    other = Quell(tmp_path, site.quell.database_url, name="replica")
    other.start(site.livekit.url)
    try:
        took = []
        for priority in range(3):
            policy = {"name": f"replicas-{suffix}", "match": {"room": suffix}, "effect": "mute"}
            change = other.store([policy | {"priority": priority}])
            for replica in (site.quell, other):
                await replica.in_force(change)
            in_force = datetime.now(UTC)
            # It is of before the commit.
            query = "select max(created_at) as at from policy_revision"
            [written] = rows(other.database_url, query)
            at = written["at"]
            assert isinstance(at, datetime)
            took.append((in_force - at).total_seconds())
        # The machine may have had something else to do once.
        assert statistics.median(took) < 1, took
    finally:
        other.stop()


MICROPHONE, SCREEN = Source.SOURCE_MICROPHONE, Source.SOURCE_SCREENSHARE_AUDIO
INTERPRETER_EXEMPTED = "exempted from vault-is-quiet@1 by vault-interpreters@1: interpreters are heard"
CONDUCTOR_EXEMPTED = "exempted from choir-is-quiet@1 by acme/choir-conductor@1: somebody has to count"


@pytest.mark.parametrize(
    ("prefix", "tenant", "identity", "kind", "source", "expected"),
    [
        ("vault", "acme", "ada", "standard", MICROPHONE, "muted by vault-is-quiet@1"),
        ("vault", "acme", "interpreter-1", "standard", MICROPHONE, INTERPRETER_EXEMPTED),
        # An exemption is about all that it says, and cancels no mute of a higher priority.
        ("vault", "acme", "interpreter-1", "sip", MICROPHONE, "muted by vault-is-quiet@1"),
        ("vault", "acme", "interpreter-1", "standard", SCREEN, "muted by vault-screens@1"),
        # A tenant's cancels an operator's mute where that is overridable, and in its own rooms.
        ("vault", "acme", "conductor", "standard", MICROPHONE, "muted by vault-is-quiet@1"),
        ("choir", "acme", "conductor", "standard", MICROPHONE, CONDUCTOR_EXEMPTED),
        ("choir", "acme", "ada", "standard", MICROPHONE, "muted by choir-is-quiet@1"),
        ("choir", "globex", "conductor", "standard", MICROPHONE, "muted by choir-is-quiet@1"),
    ],
)
async def test_an_exemption_spares_what_another_policy_mutes(
    site: Site,
    rooms: RoomService,
    join: Join,
    suffix: str,
    prefix: str,
    tenant: str,
    identity: str,
    kind: str,
    source: Any,
    expected: str,
) -> None:
    room = f"{prefix}-{suffix}"
    await rooms.create_room(room, tenant_room(tenant))
    client = await join(site.livekit.url, room, identity, kind=kind)
    track = await client.publish_tone(source)
    assert await decided(site, rooms, room, identity, track) == expected
