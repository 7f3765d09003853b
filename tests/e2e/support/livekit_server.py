"""The real livekit-server, on loopback."""

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .processes import REPOSITORY, Child, free_port

API_KEY = "devkey"
# The same that `quell simulator` has, so that one token opens both.
API_SECRET = "secret-that-is-long-enough-for-livekit-0123"


def executable() -> Path:
    """Where scripts/setup puts it: only scripts/versions.sh knows the version."""
    script = 'source scripts/versions.sh && printf %s "$livekit_server"'
    told = subprocess.run(["bash", "-c", script], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return Path(told.stdout)


class LiveKitServer:
    """One livekit-server with settings of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        webhook_urls: Sequence[str] = (),
        remote_unmute: bool,
        psrpc: bool = False,
        name: str = "livekit",
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.remote_unmute = remote_unmute
        self.psrpc = psrpc
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / f"{name}.json"
        config.write_text(json.dumps(self._config(webhook_urls)))
        self._child = Child(name, [executable(), "--config", config], os.environ, directory)
        self._child.wait_until(self._accepts)

    def _config(self, webhook_urls: Sequence[str]) -> dict[str, object]:
        """The server reads YAML, which JSON is."""
        return {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": {
                "node_ip": "127.0.0.1",
                "enable_loopback_candidate": True,
                "tcp_port": free_port(),
                "udp_port": free_port(),
            },
            "keys": {API_KEY: API_SECRET},
            "webhook": {"api_key": API_KEY, "urls": list(webhook_urls)},
            # Rooms close soon after the last one left, so that room_finished can be waited for.
            "room": {
                "enable_remote_unmute": self.remote_unmute,
                "empty_timeout": 30,
                "departure_timeout": 1,
            },
            # Whether participants are asked of the room itself, and not of the store that lags behind it.
            "api": {"enable_psrpc_for_get_list_participants": self.psrpc},
            "logging": {"level": "warn"},
        }

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Ends it."""
        self._child.stop()
