/** Why a participant's tracks are muted, or are not. */

import { call, run } from "./quell.ts";

interface Explanation {
  summary: string;
  facts: { track: { sid: string; source: string } };
  candidates: {
    policy: { name: string };
    outcome: string;
    failed: { clause: string; expected: string; actual: string } | null;
  }[];
}

async function main(room: string, identity: string): Promise<void> {
  const { tracks } = await call<{ tracks: Explanation[] }>("POST", "/v1/explain", { body: { room, identity } });
  for (const { facts, summary, candidates } of tracks) {
    console.log(`${facts.track.source} ${facts.track.sid}: ${summary}`);
    for (const { policy, outcome, failed } of candidates) {
      const why = failed ? `; ${failed.clause}: expected ${failed.expected}, actual ${failed.actual}` : "";
      console.log(`  ${policy.name}: ${outcome}${why}`);
    }
  }
}

await run(main, "ROOM IDENTITY", 2);
