"""A client of quell's API: Python's standard library alone, with time limits and retries."""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

TIMEOUT_SECONDS = 45
"""Without a byte. A stream with nothing to say says so every 15 s."""
ATTEMPTS_MAX = 5


class QuellError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(f"{status} {code}: {text}")
        self.status = status
        self.code = code

    @classmethod
    def of(cls, answer: urllib.error.HTTPError) -> "QuellError":
        """What it says. A proxy before quell may answer something else than JSON."""
        text = answer.read().decode(errors="replace")
        try:
            problem = json.loads(text)
            return cls(answer.code, problem["code"], problem["error"])
        except (ValueError, KeyError, TypeError):
            return cls(answer.code, answer.reason, text[:200])


def send(method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    """Sends a request; comes again when quell says so.

    429 and 503 are tried again: to mute twice does no harm, and If-Match keeps a change from being made twice.
    """
    headers = {"Authorization": f"Bearer {os.environ['QUELL_TOKEN']}", **(headers or {})}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(os.environ["QUELL_URL"] + path, data, headers, method=method)
    for attempt in range(ATTEMPTS_MAX):
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as answer:
            error = QuellError.of(answer)
            if error.status not in (429, 503) or attempt + 1 == ATTEMPTS_MAX:
                raise error from None
            # A proxy may say a date, or nothing.
            seconds = answer.headers.get("Retry-After", "")
            wait_for(error, int(seconds) if seconds.isdigit() else 1)
    raise AssertionError("the last attempt returns or raises")


def call(method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
    """Sends a request; returns the JSON of its answer, or None where that is empty."""
    with send(method, path, body, headers) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def pages(path: str, key: str, **query: str) -> Iterator[Any]:
    """The items of all pages of a list."""
    while True:
        page = call("GET", f"{path}?{urlencode(query)}")
        yield from page[key]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def encode(name: str) -> str:
    """A name of a room or of a participant as a part of a path."""
    return quote(name, safe="")


def line(action: dict[str, Any]) -> str:
    """An action of the audit as a line."""
    who = action["on_behalf_of"] or action["actor"] or action["policy_name"] or action["origin"]
    names = ("started_at", "action_id", "action", "outcome", "room_name", "identity", "track_sid")
    return " ".join([*(action[name] or "-" for name in names), who])


def wait_for(why: object, seconds: float) -> None:
    """Says why, and waits."""
    print(f"{why}; again in {seconds} s", file=sys.stderr, flush=True)
    time.sleep(seconds)


def run(main: Callable[..., None], usage: str, arguments_min: int) -> None:
    """Runs a program with its arguments, and says in a line what went wrong."""
    arguments = sys.argv[1:]
    if len(arguments) < arguments_min:
        sys.exit(f"usage: {sys.argv[0]} {usage}")
    if missing := [name for name in ("QUELL_URL", "QUELL_TOKEN") if not os.environ.get(name)]:
        sys.exit(f"set {missing[0]}: QUELL_URL is where quell is, QUELL_TOKEN an API secret or a JWT")
    try:
        main(*arguments)
    except QuellError as error:
        sys.exit(str(error))
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{os.environ['QUELL_URL']}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
