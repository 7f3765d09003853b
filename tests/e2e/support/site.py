"""What a test of the whole sees: a livekit-server with a quell that keeps it quiet."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from .client import Client
from .livekit_server import LiveKitServer
from .quell import Quell

Join = Callable[..., Coroutine[Any, Any, Client]]


@dataclass(frozen=True)
class Site:
    """The two servers."""

    livekit: LiveKitServer
    quell: Quell
