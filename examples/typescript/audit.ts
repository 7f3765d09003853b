/** Actions of the audit, the newest first. */

import { type Action, line, pages, run } from "./quell.ts";

async function main(...conditions: string[]): Promise<void> {
  const query = Object.fromEntries(conditions.map((condition) => condition.split(/=(.*)/s, 2)));
  for await (const action of pages<Action>("/v1/audit", "actions", query)) console.log(line(action));
}

await run(main, "[CONDITION=VALUE...]    such as: room_name=webinar-1 since=1d", 0);
