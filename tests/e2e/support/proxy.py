"""A TCP proxy that does to a connection what networks do: cuts it, loses one side, swallows, delays.

    quell ----> Link ----> Postgres or LiveKit
                 |
                 what it does (`Mode`) and where it goes (`target`) are changed while it runs

Each replica has links of its own, so that a fault can meet one of them and leave the others alone.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

_READ_BYTES = 1 << 16
# Closing a socket with a linger of 0 s sends RST in place of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Mode(Enum):
    """What becomes of bytes, and of new connections."""

    PASS = "pass"
    REFUSE = "refuse"
    """New connections are reset as soon as they are made."""
    BLACK_HOLE = "black_hole"
    """Nothing comes through, on new connections neither. What was sent meanwhile arrives late, once this
    is over: so it is with TCP, which sends again what nobody acknowledged, also after a close."""


@dataclass(frozen=True)
class Target:
    """Where connections go: a port of loopback, or a unix socket."""

    port: int = 0
    path: Path | None = None


class _Connection:
    """One connection: both sockets, and whether they hear of each other any more."""

    def __init__(self, link: "Link", client: asyncio.StreamWriter) -> None:
        self.link = link
        self.writers = [client]
        self.is_dead = False
        """Half open: nothing is forwarded any more, and neither side is told that the other closed."""
        self.tasks: set[asyncio.Task[None]] = set()

    def reset(self) -> None:
        """Sends RST to both sides."""
        for writer in self.writers:
            raw: socket.socket | None = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0 and raw.family != socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
        for task in self.tasks - {asyncio.current_task()}:
            task.cancel()


class Link:
    """Listens on a port of loopback, and forwards to `target`."""

    def __init__(self, name: str, target: Target, *, delay_seconds: float = 0.0) -> None:
        self.name = name
        self.target = target
        self.port = 0
        self.delay_seconds = delay_seconds
        """Each way."""
        self._usual_delay_seconds = delay_seconds
        self._mode = Mode.PASS
        self._passes = asyncio.Event()
        self._passes.set()
        self.cut_at: bytes | None = None
        """The connection that is next to carry these bytes ends before them, in the middle of what it carries."""
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_READ_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many are open, half-open ones too."""
        return len(self._connections)

    @property
    def mode(self) -> Mode:
        """What it does now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.BLACK_HOLE:
            self._passes.clear()
        else:
            self._passes.set()

    def cut(self) -> int:
        """Resets every connection, on both sides; returns how many."""
        return self._end(lambda _: True)

    def half_open(self) -> int:
        """From now on nothing is forwarded on the connections that there are; returns how many."""
        for connection in self._connections:
            connection.is_dead = True
        return len(self._connections)

    def bury(self) -> int:
        """Resets those that are half open: a keepalive, at last."""
        return self._end(lambda connection: connection.is_dead)

    def heal(self) -> None:
        """As if nothing had been."""
        self.bury()
        self.delay_seconds = self._usual_delay_seconds
        self.mode = Mode.PASS

    def _end(self, which: Callable[[_Connection], bool]) -> int:
        ended = [connection for connection in self._connections if which(connection)]
        for connection in ended:
            connection.reset()
        return len(ended)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, writer)
        if self._mode is Mode.REFUSE:
            connection.reset()
            return
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection.tasks.add(task)
        try:
            await self._serve(connection, reader, writer)
        except (OSError, asyncio.CancelledError):
            # The target is away, or this connection was cut: either way the client hears of it.
            connection.reset()
        finally:
            self._connections.discard(connection)

    async def _serve(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._passes.wait()
        if self.target.path is not None:
            upstream = await asyncio.open_unix_connection(self.target.path, limit=_READ_BYTES)
        else:
            upstream = await asyncio.open_connection("127.0.0.1", self.target.port, limit=_READ_BYTES)
        connection.writers.append(upstream[1])
        ways = [
            asyncio.create_task(self._forward(connection, reader, upstream[1])),
            asyncio.create_task(self._forward(connection, upstream[0], writer)),
        ]
        connection.tasks.update(ways)
        # Each way ends by itself: what the other still has to say is forwarded first.
        await asyncio.gather(*ways)
        for each in connection.writers:
            each.close()

    async def _forward(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self._passes.wait()
                if connection.is_dead:
                    await asyncio.Event().wait()
                if not data:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                before, found, _ = data.partition(self.cut_at) if self.cut_at else (data, b"", b"")
                writer.write(before)
                await writer.drain()
                if found:
                    self.cut_at = None
                    for each in connection.writers:
                        each.close()
                    return

        delivering = asyncio.create_task(deliver())
        connection.tasks.add(delivering)
        try:
            while True:
                data = await reader.read(_READ_BYTES)
                late.put_nowait((loop.time() + self.delay_seconds, data))
                if not data:
                    break
            await delivering
        except ConnectionError:
            # One side was reset: the other hears of it, unless they hear nothing of each other.
            await self._passes.wait()
            if connection.is_dead:
                await asyncio.Event().wait()
            connection.reset()
        finally:
            delivering.cancel()
