"""A primary, its synchronous standby, and a proxy before them that follows the promotion."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from .processes import REPOSITORY

WAIT_SECONDS = 30


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def _account() -> list[str]:
    """How to become somebody whom Postgres lets run it: it refuses root."""
    if os.geteuid() != 0:
        return []
    name = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
    entry = pwd.getpwnam(name)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--"]


class Pair:
    """Two servers in a folder of their own. Closed, both are ended and the folder is removed."""

    def __init__(self) -> None:
        script = f'. {REPOSITORY}/scripts/postgres.sh; postgres_bin'
        found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        self._bin = Path(found.stdout.strip())
        self._as = _account()
        # A short path: a socket's may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="quell-pair.", dir="/tmp"))
        if self._as:
            uid, gid = (int(part.split("=")[1]) for part in self._as[1:3])
            os.chown(self.folder, uid, gid)
        try:
            self._start_both()
        except BaseException:
            self.close()
            raise

    def _start_both(self) -> None:
        self.run("initdb", "-D", self.data("a"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self._start("a")
        self.run("pg_basebackup", "-h", self.folder / "a", "-U", "postgres", "-D", self.data("b"), "-R", "-c", "fast")
        self._start("b")
        self.sql("a", "alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")

        def is_synchronous() -> bool:
            return self.ask("a", "select count(*) from pg_stat_replication where sync_state = 'sync'") == 1

        _wait(is_synchronous, "the standby is synchronous")

    def data(self, name: str) -> Path:
        return self.folder / f"{name}-data"

    def run(self, program: str, *arguments: str | Path) -> None:
        command = [*self._as, self._bin / program, *arguments]
        with (self.folder / "log").open("ab") as log:
            subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)

    def _start(self, name: str) -> None:
        sockets = self.folder / name
        sockets.mkdir()
        sockets.chmod(0o777)
        options = f"-c listen_addresses='' -k {sockets} -c fsync=off -c max_connections=60"
        self.run("pg_ctl", "start", "-w", "-D", self.data(name), "-l", self.folder / f"{name}.log", "-o", options)

    def url(self, name: str, database: str = "postgres") -> str:
        """A superuser's, past the proxy."""
        return f"postgres://postgres@localhost/{database}?host={self.folder / name}"

    def sql(self, name: str, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(name, database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, name: str, query: str) -> object:
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None

    def promote(self) -> float:
        """Makes the standby the primary; returns when it was."""
        self.run("pg_ctl", "promote", "-w", "-D", self.data("b"))
        return time.monotonic()

    def kill_primary(self) -> None:
        """Ends all of its processes where they stand."""
        pid = int((self.data("a") / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in [pid, *map(int, children)]:
            os.kill(process, signal.SIGKILL)

    def close(self) -> None:
        for name in ("a", "b"):
            if (self.data(name) / "postmaster.pid").exists():
                command = [*self._as, self._bin / "pg_ctl", "stop", "-m", "immediate", "-s", "-D", self.data(name)]
                subprocess.run(command, cwd="/", capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FollowingProxy:
    """Takes connections on loopback; each stays with the server that it was made to."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.target = "a"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._pair.folder / self.target / ".s.PGSQL.5432"))
            except OSError:
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()
