/** Who is there, and a mute by track and by source. */

import { call, pages, run } from "./quell.ts";

interface Room {
  room_name: string;
  room_sid: string;
}

interface Participant {
  identity: string;
  tracks: { track_sid: string; source: string; muted: boolean }[];
}

async function main(room: string, identity: string): Promise<void> {
  for await (const live of pages<Room>("/v1/rooms", "rooms")) {
    console.log(live.room_name, live.room_sid);
  }

  const microphones: string[] = [];
  for await (const participant of pages<Participant>(`/v1/rooms/${encodeURIComponent(room)}`, "participants")) {
    for (const track of participant.tracks) {
      console.log(participant.identity, track.source, track.track_sid, track.muted ? "muted" : "heard");
      if (participant.identity === identity && track.source === "MICROPHONE") microphones.push(track.track_sid);
    }
  }
  const [microphone] = microphones;
  if (microphone === undefined) throw new Error(`${identity} has no microphone in ${room}`);

  // By track, for a moderator of yours: the audit names her, and why.
  const byTrack = await call<{ track_sid: string }>("POST", "/livekit/participant/mute", {
    body: { room_name: room, participant_identity: identity, track_sid: microphone, muted: true },
    headers: { "X-Actor": "moderator-7", "X-Reason": "shouts" },
  });
  console.log("muted", byTrack.track_sid);

  // By source: all microphones. `muted: false` lets speak again.
  const path = `/v1/rooms/${encodeURIComponent(room)}/participants/${encodeURIComponent(identity)}/mute`;
  const bySource = await call<{ tracks: { track_sid: string }[] }>("POST", path, {
    body: { source: "MICROPHONE", muted: true },
  });
  for (const track of bySource.tracks) console.log("muted", track.track_sid);
}

await run(main, "ROOM IDENTITY", 2);
