"""A throwaway Postgres, by the same script that the Rust tests run under."""

import subprocess
from types import TracebackType
from typing import Self
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from .processes import REPOSITORY


class Postgres:
    """A server of its own. It ends when our end of its standard input closes, even by a crash."""

    def __init__(self, *, durable: bool = False) -> None:
        self._process = subprocess.Popen(
            [
                REPOSITORY / "scripts/with-postgres",
                *(["--durable"] if durable else []),
                "sh",
                "-c",
                'echo "$QUELL_TEST_DATABASE_URL"; exec cat',
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("Postgres did not start; see above")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def new_database(self) -> str:
        """Makes an empty database; returns its URL."""
        name = f"quell_{uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'create database "{name}"')
        return self.url.replace("/postgres?", f"/{name}?")


def rows(url: str, query: str, **values: object) -> list[dict[str, object]]:
    """The rows that `query` answers, as dictionaries."""
    with psycopg.connect(url, row_factory=dict_row, autocommit=True) as connection:
        return connection.execute(query, values).fetchall()
