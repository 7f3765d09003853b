"""The API is what its description says: Schemathesis sends what fits it and what does not, and looks at every answer."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema_rs
import pytest

from support.postgres import Postgres
from support.processes import REPOSITORY, Child, free_port
from support.quell import OPERATOR, SECRETS, Quell, executable

HERE = Path(__file__).resolve().parent
EXAMPLES = int(os.environ.get("API_EXAMPLES", "20"))
"""Cases of each operation and phase; more with `make api`."""


@pytest.fixture(scope="module")
def api(directory: Path, postgres: Postgres) -> Iterator[Quell]:
    """A quell beside the double of LiveKit, with a room of acme's in which ann speaks."""
    quell = Quell(directory, postgres.new_database(), name="quell-api")
    port = free_port()
    double = f"http://127.0.0.1:{port}"
    arguments = ["simulator", "--port", str(port), "--webhook-url", quell.webhook_url, "--enable-remote-unmute"]
    simulator = Child("simulator-api", [executable(), *arguments], dict(os.environ), directory)
    try:
        # It asks as fast as it can, as one caller.
        quell.start(double, QUELL_CALLER_MUTES_PER_SECOND="100000", QUELL_CALLER_REQUESTS_PER_SECOND="100000")
        # Where a tenant has policies, the tenants of rooms are recorded, which backtests go by.
        quell.store([{"name": "cameras", "owner": "acme", "match": {"source": "CAMERA"}, "effect": "mute"}])
        with httpx.Client(base_url=f"{double}/_sim") as sim:
            sim.put("/rooms/webinar-1", json={"metadata": '{"auth_id": "acme"}'}).raise_for_status()
            sim.post("/rooms/webinar-1/participants", json={"identity": "ann"}).raise_for_status()
            track = {"source": "MICROPHONE", "type": "AUDIO", "sid": "TR_AMxq3LXQ9vYbzE"}
            sim.post("/rooms/webinar-1/participants/ann/tracks", json=track).raise_for_status()
        yield quell
    finally:
        quell.stop()
        simulator.stop()


def description(api: Quell) -> dict:
    return httpx.get(f"{api.url}/openapi.json").raise_for_status().json()


def test_the_committed_description_is_served(api: Quell) -> None:
    assert description(api) == json.loads((REPOSITORY / "docs/openapi.json").read_text())


def test_every_request_and_answer_has_an_example_that_fits(api: Quell) -> None:
    document = description(api)
    seen = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts = [operation["requestBody"]] if "requestBody" in operation else []
            for status, answer in [*operation["responses"].items(), *[(f"body {n}", part) for n, part in enumerate(parts)]]:
                for media in answer.get("content", {}).values():
                    schema = {**media["schema"], "components": document["components"]}
                    examples = [e["value"] for e in media.get("examples", {}).values()] or [media.get("example")]
                    if media["schema"] == {"type": "object"}:
                        continue
                    for example in examples:
                        errors = [str(e) for e in jsonschema_rs.iter_errors(schema, example)]
                        assert not errors, f"{method} {path} {status}: {errors[0]}"
                        seen += 1
    assert seen > 100


def test_the_page_for_people_takes_nothing_from_elsewhere(api: Quell) -> None:
    page = httpx.get(f"{api.url}/docs").raise_for_status()
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "http" not in page.text + policy
    script = httpx.get(f"{api.url}/docs/rapidoc.js").raise_for_status()
    assert script.headers["content-type"].startswith("text/javascript")
    assert "RapiDoc" in script.text


@pytest.mark.parametrize("caller", ["acme", OPERATOR, None], ids=["tenant", "operator", "nobody"])
def test_schemathesis_finds_nothing(api: Quell, caller: str | None, tmp_path: Path) -> None:
    seed = os.environ.get("API_SEED") or str(random.randrange(2**32))
    command = [
        Path(sys.executable).parent / "st", "--no-color", "--config-file", HERE / "schemathesis.toml", "run", f"{api.url}/openapi.json",
        "--checks", "all", "--seed", seed, "--max-examples", str(EXAMPLES), "--continue-on-failure",
        "--request-timeout", "30",
        # It never ends; tests/integration/audit_rest.rs reads it.
        "--exclude-path", "/v1/audit/stream",
    ]
    if caller:
        command += ["--header", f"Authorization: Bearer {SECRETS[caller]}"]
    run = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    print(f"seed {seed} (again: API_SEED={seed})\n{run.stdout}{run.stderr}")
    assert run.returncode == 0, f"seed {seed}"
