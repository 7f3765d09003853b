"""Postgres clusters of the harness's own: killed, started again, copied, promoted.

tests/e2e has a Postgres that stays up; here its main process is ours, so that it can be killed by its id.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import psycopg
from support.processes import REPOSITORY
from support.proxy import Target

_PORT = 5432
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "400",
    "shared_buffers": "256MB",
    "wal_level": "replica",
    # A standby that lost its primary looks for it again at once.
    "wal_retrieve_retry_interval": "200ms",
    "log_line_prefix": "%m [%p] ",
}


def programs() -> Path:
    """The folder of initdb and postgres, as the project's scripts find it."""
    script = "source scripts/postgres.sh && postgres_bin"
    told = subprocess.run(["bash", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise RuntimeError("no Postgres here: run scripts/setup postgres")
    return Path(told.stdout.strip())


def _as_somebody_else() -> list[str]:
    """Postgres refuses to run as root. And it ends with us, however that comes about."""
    if os.getuid() != 0:
        return ["setpriv", "--pdeathsig=QUIT", "--"]
    user = _account()
    who = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *who, "--pdeathsig=QUIT", "--"]


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def children(pid: int) -> list[int]:
    """The processes that this one has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
        if int(parent) == pid and state != "Z":
            found.append(int(entry.name))
    return found


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] != "Z"


class Clusters:
    """The primary of now: a failover makes it another one, also in a round that fails later."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.primary = Cluster("primary", logs)


class Cluster:
    """One data folder, and the Postgres that runs on it."""

    def __init__(self, name: str, logs: Path, *, copy_of: "Cluster | None" = None) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._bin = programs()
        # A short path: a socket's may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="quell-chaos.", dir="/tmp"))
        if os.getuid() == 0:
            os.chown(self.folder, _account().pw_uid, _account().pw_gid)
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        if copy_of is None:
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-D", self._data)
            lines = [f"{key} = '{value}'\n" for key, value in _SETTINGS.items()]
            with (self._data / "postgresql.conf").open("a") as settings:
                settings.writelines([*lines, f"unix_socket_directories = '{self.folder}'\n"])
        else:
            # It writes standby.signal and primary_conninfo.
            source = copy_of.url("postgres", application_name=name)
            self._run("pg_basebackup", "-R", "-c", "fast", "-X", "stream", "-D", self._data, "-d", source)
            with (self._data / "postgresql.conf").open("a") as settings:
                settings.write(f"unix_socket_directories = '{self.folder}'\n")

    @property
    def socket(self) -> Target:
        """Where it listens."""
        return Target(path=self.folder / f".s.PGSQL.{_PORT}")

    def url(self, database: str, **options: str) -> str:
        """The way to a database of it, past the proxy."""
        query = "&".join(f"{key}={value}" for key, value in {"host": str(self.folder), **options}.items())
        return f"postgres://postgres@localhost/{database}?{query}"

    def start(self) -> None:
        """Starts it; waits until it answers."""
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Starts it, and waits for nothing."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_somebody_else(), self._bin / "postgres", "-D", self._data],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            )

    def answers(self) -> bool:
        """Whether it takes statements."""
        try:
            self.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Waits until it takes statements."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}; see {self.log}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not answer after {seconds} s; see {self.log}")
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        """Its main process (setpriv becomes it)."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def kill_main(self) -> list[int]:
        """Kills the main process alone; returns those that it leaves behind, which still have its memory."""
        orphans = children(self.pid)
        self._process_().send_signal(signal.SIGKILL)
        self._process_().wait()
        return orphans

    def kill_all(self) -> None:
        """Kills everything of it at once, as a machine does that loses its power."""
        everything = [self.pid, *children(self.pid)]
        for pid in everything:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                # It ended by itself just before.
                continue
        self._process_().wait()

    def promote(self) -> None:
        """Makes a standby the primary; waits until it takes writes."""
        self.execute("select pg_promote(true, 30)")

    def follow_synchronously(self, standby: "Cluster") -> None:
        """From now on nothing is committed that the standby has not written."""
        self.execute(f"alter system set synchronous_standby_names = '{standby.name}'")
        self.execute("select pg_reload_conf()")
        deadline = time.monotonic() + 30
        while not self.rows("select 1 from pg_stat_replication where sync_state = 'sync'"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{standby.name} does not become a synchronous standby; see {standby.log}")
            time.sleep(0.02)

    def new_database(self) -> str:
        """Makes an empty database; returns its name."""
        name = f"chaos_{uuid4().hex[:12]}"
        self.execute(f'create database "{name}"')
        return name

    def drop_database(self, name: str) -> None:
        """Ends all that use it, and drops it."""
        self.execute(f'drop database if exists "{name}" with (force)')

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Runs one statement."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)

    def rows(self, query: str, database: str = "postgres") -> Sequence[tuple[object, ...]]:
        """The rows that `query` answers."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query).fetchall()

    def remove(self) -> None:
        """Ends it and removes its data."""
        if self._process is not None and self._process.poll() is None:
            # SIGQUIT is an immediate shutdown: its children end with it, and there is nothing to save.
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _process_(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [*_as_somebody_else(), self._bin / program, *arguments],
            cwd="/", capture_output=True, text=True, check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")
