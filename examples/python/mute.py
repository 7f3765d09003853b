"""Who is there, and a mute by track and by source."""

import sys

from quell import call, encode, pages, run


def main(room: str, identity: str) -> None:
    for live in pages("/v1/rooms", "rooms"):
        print(live["room_name"], live["room_sid"])

    microphones = []
    for participant in pages(f"/v1/rooms/{encode(room)}", "participants"):
        for track in participant["tracks"]:
            now = "muted" if track["muted"] else "heard"
            print(participant["identity"], track["source"], track["track_sid"], now)
            if participant["identity"] == identity and track["source"] == "MICROPHONE":
                microphones.append(track["track_sid"])
    if not microphones:
        sys.exit(f"{identity} has no microphone in {room}")

    # By track, for a moderator of yours: the audit names her, and why.
    mute = {"room_name": room, "participant_identity": identity, "track_sid": microphones[0], "muted": True}
    headers = {"X-Actor": "moderator-7", "X-Reason": "shouts"}
    done = call("POST", "/livekit/participant/mute", mute, headers)
    print("muted", done["track_sid"])

    # By source: all microphones. "muted": False lets speak again.
    path = f"/v1/rooms/{encode(room)}/participants/{encode(identity)}/mute"
    done = call("POST", path, {"source": "MICROPHONE", "muted": True})
    for track in done["tracks"]:
        print("muted", track["track_sid"])


run(main, "ROOM IDENTITY", 2)
