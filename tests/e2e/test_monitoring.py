"""What watches quell: its metrics as Prometheus reads them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.postgres import Postgres
from support.processes import REPOSITORY
from support.quell import Quell

NOWHERE = "http://127.0.0.1:9"


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    """Runs promtool, which says what is wrong, by its exit code too."""
    script = 'source scripts/versions.sh && exec "$promtool" "$@"'
    command = ["bash", "-c", script, "promtool", *arguments]
    run = subprocess.run(command, cwd=REPOSITORY, input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"promtool {arguments}:\n{run.stdout}{run.stderr}"


@pytest.fixture(scope="module")
def quell(directory: Path, postgres: Postgres) -> Iterator[Quell]:
    """A quell that serves, and to which nothing has happened yet."""
    quell = Quell(directory, postgres.new_database(), name="quell-monitoring")
    quell.start(NOWHERE)
    yield quell
    quell.stop()


def test_promtool_finds_no_fault_in_the_metrics(quell: Quell) -> None:
    answer = httpx.get(f"{quell.url}/metrics", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    promtool("check", "metrics", text=answer.text)


def test_who_asks_for_openmetrics_has_it(quell: Quell) -> None:
    # As Prometheus 2.42 does.
    accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = httpx.get(f"{quell.url}/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("\n# EOF\n")
