"""Child processes: started on loopback, waited for by condition, ended by their pid."""

import ctypes
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import anyio

REPOSITORY = Path(__file__).resolve().parents[3]


def tool(variable: str) -> Path:
    """Where scripts/setup puts a tool: only scripts/versions.sh knows."""
    script = f'source scripts/versions.sh && printf %s "${variable}"'
    told = subprocess.run(["bash", "-c", script], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return Path(told.stdout)


def free_port() -> int:
    """A port that is free for TCP and for UDP right now.

    Servers that point at each other need their ports before either runs, so nobody holds it
    until then.
    """
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free for both TCP and UDP")


async def eventually(condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = 15) -> None:
    """Waits until `condition` holds, for `seconds` at the most; `what` says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        await anyio.sleep(0.01)


PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """Asks Linux to end this process with the one that started it, however that ends (prctl(2))."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One program under test, with its output in a file. It ends with us."""

    def __init__(
        self, name: str, arguments: Sequence[str | Path], env: Mapping[str, str], directory: Path
    ) -> None:
        self.name = name
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Waits until `ready`; says what the program printed where that does not come."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise TimeoutError(f"{self.name} is not ready after {seconds} s:\n{self.tail()}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tail(self) -> str:
        """The last lines that the program printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def kill(self) -> None:
        """Ends the program where it stands (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Asks the program to end, and ends it where it does not; returns its exit status."""
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._process.wait()
