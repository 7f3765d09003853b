"""Why a participant's tracks are muted, or are not."""

from quell import call, run


def main(room: str, identity: str) -> None:
    for track in call("POST", "/v1/explain", {"room": room, "identity": identity})["tracks"]:
        facts = track["facts"]["track"]
        print(f"{facts['source']} {facts['sid']}: {track['summary']}")
        for candidate in track["candidates"]:
            why = ""
            if failed := candidate["failed"]:
                why = f"; {failed['clause']}: expected {failed['expected']}, actual {failed['actual']}"
            print(f"  {candidate['policy']['name']}: {candidate['outcome']}{why}")


run(main, "ROOM IDENTITY", 2)
