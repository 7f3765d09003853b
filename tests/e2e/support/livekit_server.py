"""The real livekit-server, on loopback."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .processes import Child, free_port, tool

API_KEY = "devkey"
# The same that `quell simulator` has, so that one token opens both.
API_SECRET = "secret-that-is-long-enough-for-livekit-0123"


class LiveKitServer:
    """One livekit-server with settings of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        webhook_urls: Sequence[str] = (),
        remote_unmute: bool,
        psrpc: bool = False,
        settings: Mapping[str, Any] | None = None,
        name: str = "livekit",
    ) -> None:
        """`settings` are others' than the tests' usual ones, but for its addresses, key and webhooks."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.remote_unmute = remote_unmute
        self.psrpc = psrpc
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / f"{name}.json"
        config.write_text(json.dumps(self._config(webhook_urls, settings)))
        self._child = Child(name, [tool("livekit_server"), "--config", config], os.environ, directory)
        self._child.wait_until(self._accepts)

    def _config(self, webhook_urls: Sequence[str], settings: Mapping[str, Any] | None) -> dict[str, Any]:
        """The server reads YAML, which JSON is."""
        usual = {
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
        config = dict(usual if settings is None else settings)
        rtc = {
            "node_ip": "127.0.0.1",
            "enable_loopback_candidate": True,
            "tcp_port": free_port(),
            "udp_port": free_port(),
        }
        return config | {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": config.get("rtc", {}) | rtc,
            "keys": config.get("keys", {}) | {API_KEY: API_SECRET},
            "webhook": {"api_key": API_KEY, **config.get("webhook", {}), "urls": list(webhook_urls)},
        }

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Ends it."""
        self._child.stop()
