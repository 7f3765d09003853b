"""quell itself: `serve`, and the commands that prepare its database."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from .livekit_server import API_KEY, API_SECRET
from .postgres import rows
from .processes import REPOSITORY, Child, eventually, free_port

# Callers: a tenant and its API secret.
SECRETS = {
    "acme": "secret-of-acme-0123456789",
    "globex": "secret-of-globex-0123456789",
    "operations": "secret-of-operations-0123456789",
}
OPERATOR = "operations"
IN_FORCE_SECONDS = 2
"""What is asked for is one; as much again for a machine that has other things to do."""


def executable() -> Path:
    """The program under test."""
    return Path(os.environ.get("QUELL_BIN", REPOSITORY / "target/debug/quell")).resolve()


def clean_environment() -> dict[str, str]:
    """Ours, without settings of quell that happen to be set on this machine."""
    ours = ("QUELL_", "AUTH_", "LIVEKIT_", "OTEL_")
    names = {"DATABASE_URL", "HOST", "PORT", "RUNTIME_DIRECTORY"}
    return {k: v for k, v in os.environ.items() if k not in names and not k.startswith(ours)}


class Quell:
    """One `quell serve`, with a database that it shares with nobody.

    It is made before livekit-server, which has to know where webhooks go, and started after.
    """

    def __init__(self, directory: Path, database_url: str, *, name: str = "quell") -> None:
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.webhook_url = f"{self.url}/livekit/webhook"
        self._directory = directory
        self._name = name
        self._child: Child | None = None

    def environment(self, livekit_url: str) -> dict[str, str]:
        """Every setting that it runs with."""
        secrets = [{"id": tenant, "secret": secret} for tenant, secret in SECRETS.items()]
        return clean_environment() | {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DATABASE_URL": self.database_url,
            "LIVEKIT_URL": livekit_url.replace("http", "ws", 1),
            "LIVEKIT_API_KEY": API_KEY,
            "LIVEKIT_API_SECRET": API_SECRET,
            "AUTH_API_SECRETS_JSON": json.dumps(secrets),
            "QUELL_OPERATOR_IDS": OPERATOR,
        }

    def command(self, *arguments: str | Path, **settings: str) -> str:
        """Runs another command of quell on the same database; returns what it printed."""
        run = subprocess.run(
            [executable(), *arguments],
            env=clean_environment() | {"DATABASE_URL": self.database_url} | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if run.returncode != 0:
            raise RuntimeError(f"quell {arguments} ended with {run.returncode}:\n{run.stdout}{run.stderr}")
        return run.stdout

    def start(self, livekit_url: str, policies: Path | None = None, **settings: str) -> None:
        """Starts serving. The policies are stored first: so they are in force when it is ready."""
        self.command("migrate")
        if policies is not None:
            self.command("policy", "apply", policies)
        env = self.environment(livekit_url) | settings
        self._child = Child(self._name, [executable(), "serve"], env, self._directory)
        self._child.wait_until(self._ready)

    async def apply(self, policies: Sequence[Mapping[str, object]]) -> None:
        """Applies policies, and waits until they are in force in the process that serves."""
        await self.in_force(self.store(policies))

    def store(self, policies: Sequence[Mapping[str, object]]) -> int:
        """Applies policies; returns the number of the change."""
        file = self._directory / f"{self._name}-applied.yaml"
        file.write_text(json.dumps({"policies": policies}))
        self.command("policy", "apply", file)
        [newest] = rows(self.database_url, "select max(id) as id from policy_revision")
        return int(newest["id"])

    async def in_force(self, change: int) -> None:
        """Waits until a change is in force in the process that serves."""
        await eventually(lambda: self.newest_revision() == change, "a change is in force", IN_FORCE_SECONDS)

    def newest_revision(self) -> int:
        """The newest change of policies that is in force."""
        text = httpx.get(f"{self.url}/metrics", timeout=5).text
        found = re.search(r"^quell_newest_policy_revision (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def webhooks(self) -> int:
        """How many webhooks it has answered since it was started."""
        text = httpx.get(f"{self.url}/metrics", timeout=5).text
        return sum(int(count) for count in re.findall(r"^quell_webhooks_total{[^}]*} (\d+)$", text, re.MULTILINE))

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def mute(
        self, tenant: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The REST call of a moderator of this tenant."""
        headers = {"Authorization": f"Bearer {SECRETS[tenant]}", **(headers or {})}
        return httpx.post(f"{self.url}/livekit/participant/mute", json=body, headers=headers, timeout=20)

    def log(self) -> str:
        """All that it has printed."""
        if self._child is None:
            raise RuntimeError("it was not started")
        return self._child.log.read_text()

    def pid(self) -> int:
        """The process that serves."""
        if self._child is None:
            raise RuntimeError("it was not started")
        return self._child.pid

    def kill(self) -> None:
        """Ends it where it stands."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """Ends it, where it runs."""
        if self._child is not None:
            self._child.stop()
