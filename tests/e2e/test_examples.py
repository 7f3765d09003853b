"""The examples do what they say, in each language the same: they are run as people run them, without any webhook."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from support.postgres import Postgres, rows
from support.processes import REPOSITORY, Child, eventually, free_port, tool
from support.proxy import Link, Target
from support.quell import SECRETS, Quell, clean_environment
from support.told import is_muted, tenant_room
from support.twirp import RoomService
from support.worlds import Double

TOKEN = SECRETS["acme"]
LANGUAGES = ("curl", "python", "typescript")
QUIET = {
    "name": "quiet",
    "owner": "acme",
    "match": {"room": "explained-*", "type": "AUDIO"},
    "unless": {"identity": "host"},
    "effect": "mute",
    "mode": "dry_run",
}
ACTION = re.compile(r"^\d{4}-\d\d-\d\dT\S+ ([0-9a-f-]{36}) ", re.MULTILINE)
"""A line of an action of the audit, and its id."""


@dataclass(frozen=True)
class Place:
    """A quell beside a double of LiveKit that sends no webhooks."""

    quell: Quell
    double: Double

    def room(self, name: str, **microphones: int) -> dict[str, list[str]]:
        """Makes a room of acme's in which people have microphones; returns their tracks."""
        at = f"{self.double.url}/_sim/rooms/{quote(name, safe='')}"
        with httpx.Client() as http:
            http.put(at, json={"metadata": tenant_room("acme")}).raise_for_status()
            tracks: dict[str, list[str]] = {}
            for identity, count in microphones.items():
                http.post(f"{at}/participants", json={"identity": identity}).raise_for_status()
                path, track = f"{at}/participants/{identity}/tracks", {"source": "MICROPHONE", "type": "AUDIO"}
                published = [http.post(path, json=track).raise_for_status().json() for _ in range(count)]
                tracks[identity] = [it["sid"] for it in published]
            return tracks

    def mute(self, room: str, track: str) -> None:
        """An action of acme's."""
        body = {"room_name": room, "participant_identity": "ben", "track_sid": track, "muted": True}
        self.quell.mute("acme", body).raise_for_status()

    def rows(self, columns: str, condition: str, **values: object) -> list[tuple[object, ...]]:
        """Rows of the audit, the oldest first."""
        query = f"select {columns} from moderation_history where {condition} order by started_at"
        return [tuple(row.values()) for row in rows(self.quell.database_url, query, **values)]


@pytest.fixture(scope="module")
def place(directory: Path, postgres: Postgres) -> Iterator[Place]:
    quell = Quell(directory, postgres.new_database(), name="quell-examples")
    double = Double(directory)
    try:
        quell.start(double.url)
        yield Place(quell, double)
    finally:
        quell.stop()
        double.stop()


@pytest.fixture(scope="module")
def typescript(directory: Path) -> Path:
    """The examples in TypeScript, built as their README says, beside what npm installed."""
    copy = directory / "typescript"
    shutil.copytree(REPOSITORY / "examples/typescript", copy)
    (copy / "node_modules").symlink_to(tool("typescript_dir") / "node_modules")
    built = subprocess.run(["npm", "run", "build"], cwd=copy, capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return copy / "dist"


@dataclass(frozen=True)
class Example:
    """One language's programs."""

    language: str
    typescript: Path

    def command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        """How it is run."""
        examples = REPOSITORY / "examples"
        return {
            "curl": ["bash", examples / f"curl/{program}.sh", *arguments],
            # Without the packages that are installed.
            "python": ["python3", "-S", examples / f"python/{program}.py", *arguments],
            "typescript": ["node", self.typescript / f"{program}.js", *arguments],
        }[self.language]

    def run(self, url: str, program: str, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end."""
        ran = subprocess.run(
            self.command(program, *arguments),
            env=environment(url, token),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not token or token not in ran.stdout + ran.stderr
        return ran

    def lines(self, url: str, program: str, *arguments: str, complains: str = "") -> list[str]:
        """What a program prints that succeeds."""
        ran = self.run(url, program, *arguments)
        assert (ran.returncode, complains in ran.stderr) == (0, True), ran.stdout + ran.stderr
        assert complains or not ran.stderr, ran.stderr
        return ran.stdout.splitlines()

    def start(self, url: str, directory: Path, program: str, *arguments: str | Path, token: str = TOKEN) -> Child:
        """Starts a program that goes on."""
        name = f"{self.language}-{program}"
        return Child(name, self.command(program, *arguments), environment(url, token), directory)


def environment(url: str, token: str) -> dict[str, str]:
    return clean_environment() | {"QUELL_URL": url, "QUELL_TOKEN": token, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(params=LANGUAGES)
def example(request: pytest.FixtureRequest, typescript: Path) -> Example:
    return Example(request.param, typescript)


async def test_mute(place: Place, example: Example, suffix: str) -> None:
    room = f"böard/room 7? {suffix}"
    tracks = place.room(room, ann=1, ben=2)
    printed = example.lines(place.quell.url, "mute", room, "ben")
    assert any(line.startswith(f"{room} RM_") for line in printed[:-6])
    there, done = printed[-6:-3], printed[-3:]
    assert sorted(there) == sorted(
        f"{identity} MICROPHONE {track} heard" for identity, sids in tracks.items() for track in sids
    )
    first = there[1].split()[2]
    assert done[0] == f"muted {first}"
    assert sorted(done[1:]) == sorted(f"muted {track}" for track in tracks["ben"])

    livekit = RoomService(place.double.url)
    now = {track: await is_muted(livekit, room, who, track) for who, sids in tracks.items() for track in sids}
    await livekit.aclose()
    assert now == {tracks["ann"][0]: False, tracks["ben"][0]: True, tracks["ben"][1]: True}
    audit = place.rows("track_sid, changed, actor, on_behalf_of, reason", "room_name = %(room)s", room=room)
    [second] = set(tracks["ben"]) - {first}
    assert audit[0] == (first, True, "acme", "moderator-7", "shouts")
    assert sorted(audit[1:]) == sorted([(first, False, "acme", None, None), (second, True, "acme", None, None)])


def test_policy(place: Place, example: Example) -> None:
    name = f"webinar-mics-{example.language}"
    printed = example.lines(place.quell.url, "policy", name, complains="412 PRECONDITION_FAILED: ")
    changes = ["created {}: revision 1", "changed {}: revision 2", "changed {}: revision 3", "deleted {}"]
    assert printed == [change.format(name) for change in changes]
    columns = "action, after ->> 'mode' as mode, after ->> 'priority' as priority, after ->> 'description' as description"
    text = "Only hosts may speak in webinars"
    assert place.rows(columns, "policy_name = %(name)s and outcome = 'done'", name=name) == [
        ("policy.create", "dry_run", "100", text),
        ("policy.update", "dry_run", "200", text),
        ("policy.update", "enforce", "200", text),
        ("policy.delete", None, None, None),
    ]


async def test_explain(place: Place, example: Example, suffix: str) -> None:
    room = f"explained-{suffix}"
    [host], [ben] = place.room(room, host=1, ben=1).values()
    await place.quell.apply([QUIET])
    spared = example.lines(place.quell.url, "explain", room, "host")
    assert spared[0].startswith(f"MICROPHONE {host}: ")
    assert '  quiet: does_not_apply; unless: expected not all of: identity "host", actual "host"' in spared
    muted = example.lines(place.quell.url, "explain", room, "ben")
    assert muted[0].startswith(f"MICROPHONE {ben}: ")
    assert any(line.startswith("  quiet: ") and "does_not_apply" not in line for line in muted)


def test_audit(place: Place, example: Example, suffix: str) -> None:
    room = f"listed-{suffix}"
    [[track]] = place.room(room, ben=1).values()
    for _ in range(5):
        place.mute(room, track)
    # Pages of two.
    printed = example.lines(place.quell.url, "audit", f"room_name={room}", "since=1d", "limit=2")
    ids = [str(action) for (action,) in place.rows("action_id", "room_name = %(room)s", room=room)]
    assert [ACTION.match(line)[1] for line in printed] == ids[::-1]
    assert printed[0].endswith(f"{ids[-1]} mute done {room} ben {track} acme")


async def test_streams_lose_nothing_and_repeat_nothing(
    place: Place, typescript: Path, suffix: str, tmp_path: Path
) -> None:
    """All languages at once: mostly they wait."""
    room = f"followed-{suffix}"
    [[track]] = place.room(room, ben=1).values()
    files = [tmp_path / language for language in LANGUAGES]
    children: list[Child] = []

    async def told() -> None:
        """Waits until all have printed every action."""
        count = len(place.rows("action_id", "room_name = %(room)s", room=room))
        for child in children:
            await eventually(lambda: len(ACTION.findall(child.log.read_text())) >= count, f"{child.name} is told")

    async with AsyncExitStack() as ends:
        links = [await ends.enter_async_context(Link(it, Target(port=place.quell.port))) for it in LANGUAGES]

        def start() -> None:
            for language, link, file in zip(LANGUAGES, links, files, strict=True):
                url = f"http://127.0.0.1:{link.port}"
                children.append(Example(language, typescript).start(url, tmp_path, "stream", file))
                ends.callback(children[-1].stop)

        async def cut() -> None:
            """Cuts all off, and waits until they say so: by then they have kept the place of what they printed."""
            waits = [child.log.read_text().count("; again in ") for child in children]
            assert all([link.cut() for link in links])
            for child, before in zip(children, waits, strict=True):
                await eventually(
                    lambda: child.log.read_text().count("; again in ") > before, f"{child.name} is cut off"
                )

        start()
        for child, file in zip(children, files, strict=True):
            await eventually(file.exists, f"{child.name} has begun")
        # It has a place before its first action: this cut loses nothing either.
        await cut()
        place.mute(room, track)
        await told()
        # An id comes, and then the connection ends: its action was not told.
        for link in links:
            link.cut_at = b"\ndata: "
        place.mute(room, track)
        await told()
        assert [link.cut_at for link in links] == [None] * len(links)
        # What is committed while none runs is told to the next, which begins where the file says.
        await cut()
        while children:
            children.pop().kill()
        place.mute(room, track)
        start()
        await told()
        place.mute(room, track)
        await told()
        printed = {child.name: ACTION.findall(child.log.read_text()) for child in children}
    actions = [str(action) for (action,) in place.rows("action_id", "room_name = %(room)s", room=room)]
    assert len(actions) == 4
    assert printed == {f"{language}-stream": actions for language in LANGUAGES}


def test_what_is_wrong_is_said_in_a_line(place: Place, example: Example, suffix: str, tmp_path: Path) -> None:
    url, file, silent = place.quell.url, tmp_path / "place", f"silent-{suffix}"
    place.room(silent, ben=0)
    file.write_text("nUa3wC0pQ3y1B0m2m2c1Xw")
    nobodys = free_port()
    for ran, said in [
        (example.run(url, "explain", "nowhere", "ben"), "404 PARTICIPANT_NOT_FOUND: "),
        (example.run(url, "mute", silent, "ben"), f"ben has no microphone in {silent}"),
        (example.run(url, "audit", "romm_name=x"), "400 INVALID_REQUEST: "),
        (example.run(url, "mute", "nowhere", "ben", token="wrong"), "401 UNAUTHORIZED: "),
        (example.run(url, "stream", str(file)), "400 INVALID_REQUEST: Last-Event-ID "),
        (example.run(url, "mute", "nowhere"), "IDENTITY" if example.language != "curl" else "identity"),
        (example.run(url, "audit", token=""), "QUELL_TOKEN"),
        (example.run(f"http://127.0.0.1:{nobodys}", "audit"), str(nobodys)),
    ]:
        assert ran.returncode > 0, ran
        assert said in ran.stderr and len(ran.stderr.splitlines()) == 1, ran


async def test_they_come_again_when_they_are_told_to(place: Place, typescript: Path, tmp_path: Path) -> None:
    """All languages at once: it is 5 s."""
    examples = [Example(language, typescript) for language in LANGUAGES]
    stream, token = f"{place.quell.url}/v1/audit/stream", SECRETS["globex"]
    headers = {"Authorization": f"Bearer {token}"}
    files = [tmp_path / example.language for example in examples]
    with ExitStack() as ends:
        with ExitStack() as others, httpx.Client(headers=headers, timeout=20) as http:
            # As many as a caller may have.
            for _ in range(4):
                others.enter_context(http.stream("GET", stream)).raise_for_status()
            children = [
                example.start(place.quell.url, tmp_path, "stream", file, token=token)
                for example, file in zip(examples, files, strict=True)
            ]
            for child in children:
                ends.callback(child.stop)
                await eventually(lambda: child.log.read_text() != "", "it is told to come again")
                assert re.fullmatch(r"429 STREAM_BUSY: .*; again in 5 s\n", child.log.read_text())
        for file in files:
            await eventually(file.exists, "it has come again")
