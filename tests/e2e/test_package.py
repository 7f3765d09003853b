"""The Debian package: made of the program under test (a release build would take minutes), and installed into a root of its own."""

import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.postgres import Postgres
from support.processes import REPOSITORY, Child, eventually, free_port
from support.quell import clean_environment, executable

EXPOSURE_MAX = 20
"""Tenths of what `systemd-analyze security` counts: 2.0."""
WATCHDOG_SECONDS = 0.2


def _run(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env=clean_environment() | settings,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Root:
    """A folder that dpkg takes for a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "var/lib/dpkg").mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()
        # Scripts of the package run outside of the folder: they must not stop a quell of this machine's.
        self._programs = folder / "programs"
        self._programs.mkdir()
        for name in ("systemctl", "deb-systemd-invoke"):
            (self._programs / name).symlink_to("/bin/true")

    def dpkg(self, *arguments: str | Path) -> str:
        """What dpkg says; what packages depend on is this machine's."""
        # Images for containers leave out pages of man and of docs.
        options = (f"--root={self.folder}", f"--log={self.folder}/dpkg.log", "--path-include=*")
        forced = ("--force-depends", "--force-script-chrootless", "--force-not-root")
        path = f"{self._programs}:/usr/sbin:/usr/bin:/sbin:/bin"
        ran = _run("dpkg", *options, *forced, *arguments, PATH=path)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def path(self, path: str) -> Path:
        """Where `path` of that machine is."""
        return self.folder / path.removeprefix("/")


@pytest.fixture(scope="module")
def package(directory: Path) -> Path:
    """The package."""
    made = _run("scripts/deb", executable(), directory / "deb")
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


@pytest.fixture(scope="module")
def root(package: Path, directory: Path) -> Root:
    """A root in which it is installed."""
    root = Root(directory / "root")
    root.dpkg("--install", package)
    return root


def test_the_installed_program_runs(root: Root, postgres: Postgres) -> None:
    quell = root.path("/usr/bin/quell")
    version = _run(quell, "--version").stdout
    control = root.dpkg("--status", "quell")
    assert f"Version: {version.split()[1]}-1\n" in control
    doctor = _run(quell, "doctor", DATABASE_URL=postgres.new_database())
    assert "LIVEKIT_API_SECRET" in doctor.stdout
    assert "ok    Postgres 1" in doctor.stdout, doctor.stdout


def test_files_have_their_modes_and_nothing_is_started(root: Root) -> None:
    modes = {
        # It will hold secrets. Only systemd reads it, as root.
        "/etc/quell/quell.env": 0o640,
        "/usr/bin/quell": 0o755,
        "/usr/lib/systemd/system/quell.service": 0o644,
        "/usr/lib/sysusers.d/quell.conf": 0o644,
        "/usr/share/doc/quell/docs/OPERATIONS.md": 0o644,
        "/usr/share/doc/quell/changelog.Debian.gz": 0o644,
        "/usr/share/doc/quell/copyright": 0o644,
        "/usr/share/doc/quell/examples/monitoring/alerts.yaml": 0o644,
        "/usr/share/doc/quell/examples/policies/webinar.yaml": 0o644,
        "/usr/share/man/man1/quell-policy-apply.1.gz": 0o644,
        "/usr/share/zsh/vendor-completions/_quell": 0o644,
        "/usr/share/fish/vendor_completions.d/quell.fish": 0o644,
    }
    for path, mode in modes.items():
        found = root.path(path).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, os.geteuid(), os.getegid()), path
    # cargo-deb would make one up.
    ours = REPOSITORY / "packaging/debian/copyright"
    assert root.path("/usr/share/doc/quell/copyright").read_text() == ours.read_text()
    listed = root.dpkg("--status", "quell")
    assert "\nConffiles:\n /etc/quell/quell.env " in listed, listed
    [user] = [line for line in root.path("/etc/passwd").read_text().splitlines() if line.startswith("quell:")]
    assert user.endswith(":/var/lib/quell:/usr/sbin/nologin"), user
    assert [path for path in root.path("/etc").rglob("*") if path.is_symlink()] == [], "it is enabled"
    # It starts no unit on a machine where systemd runs.
    assert "deb-systemd-invoke" not in root.path("/var/lib/dpkg/info/quell.postinst").read_text()


def test_the_settings_are_read_by_shells_as_well(root: Root) -> None:
    settings = root.path("/etc/quell/quell.env").read_text()
    uncommented = re.sub(r"^#(?=[A-Z_]+=)", "", settings, flags=re.MULTILINE)
    assert uncommented.count("\nQUELL_") > 20
    file = root.folder.parent / "quell.env"
    file.write_text(uncommented)
    read = _run("sh", "-euc", 'set -a; . "$1"; exec printenv QUELL_SWEEP_CRON', "sh", file)
    assert (read.stdout, read.stderr) == ("*/30 * * * * *\n", "")


def test_the_unit_is_sound_and_closed(root: Root) -> None:
    unit = "/usr/lib/systemd/system/quell.service"
    # It looks for the units and programs that this one names, and for man pages, on the machine.
    text = root.path(unit).read_text().replace("/usr/bin/quell", str(root.path("/usr/bin/quell")))
    copy = root.folder.parent / "quell.service"
    copy.write_text(text)
    verified = _run("systemd-analyze", "verify", "--man=no", copy)
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stderr
    rated = _run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", copy)
    assert rated.returncode == 0, rated.stdout + rated.stderr
    assert "Overall exposure level" in rated.stdout


def test_man_pages_render_without_a_warning(root: Root) -> None:
    pages = sorted(root.path("/usr/share/man/man1").glob("*.1.gz"))
    assert len(pages) > 20
    for page in pages:
        shown = _run("man", "--warnings=all", "--local-file", page, LC_ALL="C.UTF-8", MANWIDTH="80", MAN_KEEP_STDERR="1")
        assert (shown.returncode, shown.stderr) == (0, ""), (page.name, shown.stderr)
        assert "DESCRIPTION" in shown.stdout


def test_bash_completes_commands(root: Root) -> None:
    script = root.path("/usr/share/bash-completion/completions/quell")
    complete = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _quell quell "${@: -1}" "${@: -2:1}"
        echo "${COMPREPLY[@]}"
    """
    for words, want in {("quell", "pol"): "policy", ("quell", "policy", "app"): "apply"}.items():
        done = _run("bash", "-euc", complete, "bash", script, *words)
        assert (done.stdout, done.stderr) == (f"{want}\n", ""), words


def test_purging_removes_settings_and_leaves_data(package: Path, directory: Path) -> None:
    root = Root(directory / "purged")
    for data in (None, "audit"):
        root.dpkg("--install", package)
        state = root.path("/var/lib/quell")
        state.mkdir(parents=True, exist_ok=True)
        if data:
            (state / data).touch()
        said = root.dpkg("--purge", "quell")
        assert not root.path("/etc/quell").exists()
        assert not root.path("/usr/bin/quell").exists()
        assert state.exists() == bool(data)
        assert ("/var/lib/quell is kept" in said) == bool(data), said


class ServiceManager:
    """The side of sd_notify(3) that systemd has."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.told: list[str] = []

    def heard(self) -> list[str]:
        """Everything that it was told so far."""
        while True:
            try:
                self.told += self._socket.recv(4096).decode().split()
            except BlockingIOError:
                return self.told


@pytest.fixture
def service_manager() -> Iterator[ServiceManager]:
    """A socket whose path is short enough for one."""
    folder = Path(tempfile.mkdtemp())
    yield ServiceManager(folder)
    shutil.rmtree(folder)


async def test_systemd_is_told_also_while_the_database_is_away(
    root: Root, service_manager: ServiceManager, directory: Path
) -> None:
    def feeds() -> int:
        return service_manager.heard().count("WATCHDOG=1")

    settings = {
        "PORT": str(free_port()),
        "NOTIFY_SOCKET": str(service_manager.path),
        "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1_000_000)),
    }
    program = root.path("/usr/bin/quell")
    with Postgres() as postgres, ExitStack() as failing:
        env = clean_environment() | settings | {"DATABASE_URL": postgres.new_database()}
        quell = Child("quell-notify", [program, "serve"], env, directory)
        failing.callback(quell.stop)
        await eventually(lambda: feeds() > 2, "the watchdog is fed", 30)
        failing.pop_all()
    try:
        asked = _run(program, "health", PORT=settings["PORT"])
        assert asked.returncode == 0, asked.stderr
        away = feeds()
        await eventually(lambda: feeds() > away + 10, "the watchdog is fed without a database", 15)
    finally:
        status = quell.stop()
    assert status == 0, quell.tail()
    told = [message for message in service_manager.heard() if message != "WATCHDOG=1"]
    assert told == ["READY=1", "STOPPING=1"]
    asked = _run(program, "health", PORT=settings["PORT"])
    assert (asked.returncode, "check that `quell serve` runs" in asked.stderr) == (1, True), asked.stderr
