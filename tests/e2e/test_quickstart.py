"""docs/QUICKSTART.md is run as it stands: its commands, in one shell, in its order; and they answer what it says.

Three things are otherwise than there: the ports are free ones, the folders are the test's, and `cargo build` has
happened.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import REPOSITORY, eventually, free_port, tool
from support.quell import clean_environment

pytestmark = pytest.mark.livekit

PAGE = REPOSITORY / "docs/QUICKSTART.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PORTS = ["8080", "7880", "7881", "7882", "9090"]
PROGRAMS = {"livekit-server": "livekit_server", "prometheus": "prometheus", "promtool": "promtool"}
SECONDS = 300
"""For all of it; it takes some fifteen."""
DONE = "::done::"
# What is never the same twice, as it looks.
VARIES = [r"TR_\w+", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", r"@\[[\d.]+\]"]
PRELUDE = """
cargo() { [ "$*" = "build --locked --bin quell" ] && [ -x target/debug/quell ]; }
"""


class Shell:
    """A shell that runs one block after the other, and is ended with all that it started."""

    def __init__(self, env: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc", "-o", "errexit"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env=env,
            text=True,
            start_new_session=True,
        )
        # A loop of the page that waits in vain goes on for ever.
        self._watchdog = threading.Timer(SECONDS, self._is_ended)
        self._watchdog.start()
        self.run(PRELUDE)

    def run(self, block: str) -> str:
        """What a block prints on stdout."""
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{block}\nprintf '\\n{DONE}\\n'\n")
        self._shell.stdin.flush()
        printed = ""
        for line in self._shell.stdout:
            if line == f"{DONE}\n":
                return printed.strip("\n")
            printed += line
        raise AssertionError(f"it ended in this block:\n{block}\nit had printed:\n{printed}")

    def _is_ended(self) -> bool:
        self._shell.poll()
        try:
            os.killpg(self._shell.pid, signal.SIGTERM)
        except ProcessLookupError:
            return True
        return False

    async def end(self) -> None:
        """Ends what is left of it."""
        self._watchdog.cancel()
        # livekit-server waits for participants, until it is told again.
        await eventually(self._is_ended, "all that the page started has ended")


def expected(text: str) -> re.Pattern[str]:
    """What fits a text of the page, with other SIDs and times."""
    pattern = re.escape(text.strip("\n"))
    for varies in VARIES:
        for found in set(re.findall(varies, text)):
            pattern = pattern.replace(re.escape(found), varies)
    return re.compile(pattern)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A newcomer's, with the programs in PATH that the page takes to be there."""
    for name, variable in PROGRAMS.items():
        (tmp_path / name).symlink_to(tool(variable))
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    # Its Postgres is another user's.
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        yield clean_environment() | {"HOME": home, "QUELL_PG_DATA": f"{home}/pg", "PATH": path}


async def test_the_afternoon_goes_as_it_is_written(env: dict[str, str]) -> None:
    ports = {port: str(free_port()) for port in PORTS}
    page, replaced = re.subn(rf"\b({'|'.join(PORTS)})\b", lambda port: ports[port[1]], PAGE.read_text())
    assert replaced >= len(PORTS)
    shell = Shell(env)
    printed, blocks = "", 0
    try:
        for kind, text in BLOCK.findall(page):
            if kind == "sh":
                printed = shell.run(text)
                blocks += 1
            else:
                assert expected(text).fullmatch(printed), f"the page says:\n{text}\nbut it is:\n{printed}"
    finally:
        await shell.end()
        for log in Path(env["HOME"]).glob("*/*.log"):
            print(f"{log.name}:", *log.read_text().splitlines()[-10:], sep="\n")
    assert blocks > 10
