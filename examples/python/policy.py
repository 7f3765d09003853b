"""The life of a policy: created in dry run, changed by two people at once, deleted."""

import json
import sys
from typing import Any

from quell import ATTEMPTS_MAX, QuellError, call, run, send

Seen = tuple[dict[str, Any], str]
"""A policy as it was read, and its ETag."""


def read(name: str) -> Seen:
    with send("GET", f"/v1/policies/{name}") as answer:
        return json.load(answer)["policy"], answer.headers["ETag"]


def change(name: str, seen: Seen | None = None, **fields: object) -> None:
    """Changes fields of the policy as it is now, or as it was read earlier."""
    for _ in range(ATTEMPTS_MAX):
        policy, etag = seen or read(name)
        try:
            done = call("PUT", f"/v1/policies/{name}", policy | fields, {"If-Match": etag})
        except QuellError as error:
            if error.status != 412:
                raise
            # Somebody else changed it meanwhile: the fields are set in what is there now, so that theirs stay.
            print(error, file=sys.stderr)
            seen = None
        else:
            print(f"changed {name}: revision {done['revision']}")
            return
    raise TimeoutError(f"{name} is changed all the time")


def main(name: str) -> None:
    policy = {
        "name": name,
        "description": "Only hosts may speak in webinars",
        "match": {"room": "webinar-*", "type": "AUDIO"},
        "unless": {"identity": "host-*"},
        "effect": "mute",
        "mode": "dry_run",
    }
    done = call("POST", "/v1/policies", policy)
    print(f"created {name}: revision {done['revision']}")

    seen = read(name)
    change(name, priority=200)  # a colleague is faster
    change(name, seen, mode="enforce")

    _, etag = read(name)
    call("DELETE", f"/v1/policies/{name}", headers={"If-Match": etag})
    print(f"deleted {name}")


run(main, "NAME", 1)
