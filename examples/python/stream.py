"""Actions as they are committed, each once, through cuts and restarts: FILE keeps the place."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

from quell import QuellError, line, run, send, wait_for


def events(place: str | None) -> Iterator[dict[str, str]]:
    """Events from a place on, each with its fields, until the connection ends."""
    headers = {"Last-Event-ID": place} if place else {}
    with send("GET", "/v1/audit/stream", headers=headers) as answer:
        event: dict[str, str] = {}
        for text in answer:
            field, _, value = text.decode().rstrip("\n").partition(": ")
            if field:
                event[field] = value
            else:
                # An event is whole at its empty line.
                yield event
                event = {}


def main(file: str) -> None:
    path, new = Path(file), Path(f"{file}.new")
    seconds = 1
    while True:
        why: object = "the stream ended"
        try:
            for event in events(path.read_text() if path.exists() else None):
                if "data" in event:
                    print(line(json.loads(event["data"])), flush=True)
                # The place moves on once its action is handled.
                if "id" in event:
                    new.write_text(event["id"])
                    new.replace(path)
                seconds = 1
        except QuellError as error:
            if error.status < 500 and error.status != 429:
                raise
            why = error
        except (OSError, http.client.HTTPException) as error:
            why = error
        wait_for(why, seconds)
        seconds = min(seconds * 2, 30)


run(main, "FILE", 1)
