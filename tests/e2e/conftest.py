"""What the tests share: real servers, started once a session, and clients that leave after a test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.client import Client
from support.livekit_server import LiveKitServer
from support.postgres import Postgres
from support.quell import Quell
from support.receiver import Receiver
from support.site import Join, Site
from support.twirp import RoomService
from support.worlds import Double, DoubleWorld, RealWorld, World


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """LiveKit's SDK is written for asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs' settings and output go."""
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres of this session's own."""
    with Postgres() as server:
        yield server


def _site(directory: Path, postgres: Postgres, name: str, *, remote_unmute: bool) -> Iterator[Site]:
    quell = Quell(directory, postgres.new_database(), name=f"quell-{name}")
    livekit = LiveKitServer(
        directory,
        webhook_urls=[quell.webhook_url],
        remote_unmute=remote_unmute,
        psrpc=not remote_unmute,
        name=f"livekit-{name}",
    )
    try:
        quell.start(livekit.url, Path(__file__).parent / "policies")
        yield Site(livekit, quell)
    finally:
        quell.stop()
        livekit.stop()


@pytest.fixture(scope="session")
def site(directory: Path, postgres: Postgres) -> Iterator[Site]:
    """A site whose LiveKit lets a server unmute people."""
    yield from _site(directory, postgres, "site", remote_unmute=True)


@pytest.fixture(scope="session")
def site_without_unmute(directory: Path, postgres: Postgres) -> Iterator[Site]:
    """A site whose LiveKit does not, which is its default; and asks a room itself for its participants."""
    yield from _site(directory, postgres, "site-without-unmute", remote_unmute=False)


@pytest.fixture
def quell(request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres) -> Iterator[Quell]:
    """A quell that is not started yet."""
    name = request.module.__name__.removeprefix("test_")
    quell = Quell(tmp_path, postgres.new_database(), name=f"quell-{name}")
    yield quell
    quell.stop()


@pytest.fixture
def suffix() -> str:
    """Makes names of rooms this test's own: tests share the servers."""
    return uuid4().hex[:8]


@pytest.fixture
def room(suffix: str) -> str:
    """The name of a room of this test's own, to which no policy applies."""
    return f"open-{suffix}"


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """Joins rooms; everyone leaves when the test is over."""
    clients: list[Client] = []

    async def join_one(url: str, room: str, identity: str, **who: Any) -> Client:
        client = await Client.join(url, room, identity, **who)
        clients.append(client)
        return client

    yield join_one
    for client in clients:
        await client.leave()


@pytest.fixture
async def rooms(site: Site) -> AsyncIterator[RoomService]:
    """LiveKit's own API at the site."""
    service = RoomService(site.livekit.url)
    yield service
    await service.aclose()


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """Where both worlds of the contract send webhooks."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def contract_livekit(directory: Path, receiver: Receiver) -> Iterator[LiveKitServer]:
    """The real server of the contract."""
    server = LiveKitServer(
        directory, webhook_urls=[receiver.url], remote_unmute=True, name="livekit-contract"
    )
    yield server
    server.stop()


@pytest.fixture(scope="session")
def contract_livekit_without_unmute(directory: Path, receiver: Receiver) -> Iterator[LiveKitServer]:
    """The same, not letting servers unmute people, and asking a room itself for its participants."""
    server = LiveKitServer(
        directory,
        webhook_urls=[receiver.url],
        remote_unmute=False,
        psrpc=True,
        name="livekit-contract-without-unmute",
    )
    yield server
    server.stop()


@pytest.fixture(scope="session")
def double(directory: Path) -> Iterator[Double]:
    """quell's LiveKit double."""
    double = Double(directory)
    yield double
    double.stop()


# Fixtures are asked for by name, so that the real server is not started where only the double runs.
WORLDS = [
    pytest.param("real", marks=pytest.mark.livekit, id="livekit-server"),
    pytest.param("double", id="double"),
]


async def _world(
    request: pytest.FixtureRequest, receiver: Receiver, *, remote_unmute: bool
) -> AsyncIterator[World]:
    world: World
    if request.param == "real":
        name = "contract_livekit" if remote_unmute else "contract_livekit_without_unmute"
        world = RealWorld(request.getfixturevalue(name), receiver)
    else:
        double: Double = request.getfixturevalue("double")
        world = DoubleWorld(double.url, receiver, remote_unmute=remote_unmute)
        await world.open()
    yield world
    await world.aclose()


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest, receiver: Receiver) -> AsyncIterator[World]:
    """A LiveKit, real or double, that lets servers unmute people."""
    async for world in _world(request, receiver, remote_unmute=True):
        yield world


@pytest.fixture(params=WORLDS)
async def world_without_unmute(request: pytest.FixtureRequest, receiver: Receiver) -> AsyncIterator[World]:
    """The same, not letting servers unmute people, and asking a room itself for its participants."""
    async for world in _world(request, receiver, remote_unmute=False):
        yield world
