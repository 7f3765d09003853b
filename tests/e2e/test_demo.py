"""`quell demo` as a newcomer meets it: what it shows, and whether what it says to try works."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import REPOSITORY, Child
from support.quell import clean_environment, executable

UP = "quell stays up. Ctrl-C ends it."


class Demo:
    """A demo that is up, with a Postgres of its own."""

    def __init__(self, directory: Path, data: Path) -> None:
        env = clean_environment() | {"PORT": "0", "QUELL_PG_DATA": str(data)}
        self.child = Child("demo", [executable(), "demo"], env, directory)
        # A window opens at a full minute.
        self.child.wait_until(lambda: UP in self.printed(), seconds=150)

    def printed(self) -> str:
        """What it showed so far."""
        return self.child.log.read_text()


@pytest.fixture(scope="module")
def demo(directory: Path) -> Iterator[Demo]:
    """One demo for all tests here."""
    # Not below pytest's folder, which only we can enter: as root, Postgres runs as another user.
    with tempfile.TemporaryDirectory() as data:
        Path(data).chmod(0o755)
        demo = Demo(directory, Path(data) / "pg")
        yield demo
        assert demo.child.stop() == 0, demo.child.tail()


@pytest.mark.parametrize(
    ("who", "now", "why"),
    [
        ("Hanna, the host", "heard", "webinar-mics says: unless"),
        ("Ben, an attendee", "muted", "webinar-mics @1 mutes it"),
        ("Cleo, with her own client", "muted", "webinar-mics @1 mutes it"),
        ("a caller by phone", "muted", "webinar-phone-callers @1 mutes it"),
        ("the voice agent", "heard", "agents-may-speak exempts it"),
        ("Dan, an attendee", "heard", "screen-share-audio-dry-run would mute it"),
    ],
)
def test_it_shows_who_is_muted_and_who_is_spared_by_which_policy(
    demo: Demo, who: str, now: str, why: str
) -> None:
    [line] = [line for line in demo.printed().splitlines() if line.startswith(who)]
    assert re.search(rf"\s{now}\s.*{re.escape(why)}", line), line


def test_it_shows_the_audit(demo: Demo) -> None:
    audit = demo.printed().split("The audit:", 1)[1].split("Try it yourself", 1)[0]
    rows = [re.split(r"\s+", line)[1:5] for line in audit.splitlines() if re.match(r"\d\d:", line)]
    assert rows == [
        ["policy", "mute", "done", "ben"],
        ["policy", "mute", "done", "cleo"],
        ["policy", "mute", "done", "sip-4917012345"],
        ["policy", "exempt", "done", "agent-7"],
        ["policy", "mute", "dry_run", "dan"],
        ["acme", "unmute", "done", "ben"],
        ["globex", "mute", "refused", "ben"],
    ]


def test_what_it_says_to_try_works(demo: Demo) -> None:
    commands = demo.printed().split("Try it yourself", 1)[1].split("A window opens", 1)[0]
    run = subprocess.run(
        ["bash", "-eu"],
        input=commands,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for answer in (
        # cleo may speak; the other tenant is told nothing; both probes are well; a joined microphone
        '"muted":false',
        '"code":"PARTICIPANT_NOT_FOUND"',
        '"webinar-mics"',
        '"source":"MICROPHONE"',
        "200",
        "quell_step_seconds",
        "policy_name",
    ):
        assert answer in run.stdout, run.stdout
    # The last command is the audit: it has the moderator's unmute of a moment ago.
    assert re.search(r"acme\s+\| unmute\s+\| done\s+\| cleo", run.stdout), run.stdout


def test_it_ends_with_a_window_that_silences_somebody_who_was_speaking(demo: Demo) -> None:
    scene = demo.printed().split("A window opens", 1)[1].split(UP, 1)[0]
    found = re.search(r"mia is muted (\d+) ms after it opened", scene)
    assert found, scene
