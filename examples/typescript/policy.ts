/** The life of a policy: created in dry run, changed by two people at once, deleted. */

import { call, QuellError, run, send } from "./quell.ts";

interface Policy {
  name: string;
  description?: string;
  match: { room?: string | string[]; type?: string | string[]; source?: string | string[] };
  unless?: { identity?: string | string[] };
  effect: "mute" | "exempt";
  mode?: "enforce" | "dry_run" | "off";
  priority?: number;
}

/** A policy as it was read, and its ETag. */
interface Seen {
  policy: Policy;
  etag: string;
}

const pathOf = (name: string): string => `/v1/policies/${name}`;

async function read(name: string): Promise<Seen> {
  const answer = await send("GET", pathOf(name));
  const { policy } = (await answer.json()) as { policy: Policy };
  return { policy, etag: answer.headers.get("etag") ?? "" };
}

/** Changes fields of the policy as it is now, or as it was read earlier. */
async function change(name: string, fields: Partial<Policy>, seen?: Seen): Promise<void> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { policy, etag } = seen ?? (await read(name));
    try {
      const done = await call<{ revision: number }>("PUT", pathOf(name), {
        body: { ...policy, ...fields },
        headers: { "If-Match": etag },
      });
      console.log(`changed ${name}: revision ${done.revision}`);
      return;
    } catch (error) {
      if (!(error instanceof QuellError) || error.status !== 412) throw error;
      // Somebody else changed it meanwhile: the fields are set in what is there now, so that theirs stay.
      console.error(error.message);
      seen = undefined;
    }
  }
  throw new Error(`${name} is changed all the time`);
}

async function main(name: string): Promise<void> {
  const policy: Policy = {
    name,
    description: "Only hosts may speak in webinars",
    match: { room: "webinar-*", type: "AUDIO" },
    unless: { identity: "host-*" },
    effect: "mute",
    mode: "dry_run",
  };
  const created = await call<{ revision: number }>("POST", "/v1/policies", { body: policy });
  console.log(`created ${name}: revision ${created.revision}`);

  const seen = await read(name);
  await change(name, { priority: 200 }); // a colleague is faster
  await change(name, { mode: "enforce" }, seen);

  const { etag } = await read(name);
  await send("DELETE", pathOf(name), { headers: { "If-Match": etag } });
  console.log(`deleted ${name}`);
}

await run(main, "NAME", 1);
