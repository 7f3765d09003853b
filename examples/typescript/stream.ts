/** Actions as they are committed, each once, through cuts and restarts: FILE keeps the place. */

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { type Action, line, QuellError, run, send, waitFor } from "./quell.ts";

/** Every 15 s at the latest something comes. */
const SILENCE_MS_MAX = 45_000;

/** Events from a place on, each with its fields, until the connection ends. */
async function* events(place: string | null): AsyncGenerator<Record<string, string>> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Error("nothing came for 45 s")), SILENCE_MS_MAX);
  try {
    const headers: Record<string, string> = place === null ? {} : { "Last-Event-ID": place };
    const answer = await send("GET", "/v1/audit/stream", { headers, signal: silence.signal });
    let text = "";
    for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
      timer.refresh();
      text += chunk;
      // An event is whole at its empty line.
      const whole = text.split("\n\n");
      text = whole.pop()!;
      for (const event of whole) {
        const fields = event.split("\n").map((field) => field.split(/: (.*)/s, 2));
        yield Object.fromEntries(fields);
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

async function main(file: string): Promise<void> {
  let seconds = 1;
  for (;;) {
    let why: unknown = "the stream ended";
    try {
      for await (const event of events(existsSync(file) ? readFileSync(file, "utf8") : null)) {
        if (event.data) console.log(line(JSON.parse(event.data) as Action));
        // The place moves on once its action is handled.
        if (event.id) {
          writeFileSync(`${file}.new`, event.id);
          renameSync(`${file}.new`, file);
        }
        seconds = 1;
      }
    } catch (error) {
      if (error instanceof QuellError && error.status < 500 && error.status !== 429) throw error;
      why = error;
    }
    await waitFor(why, seconds);
    seconds = Math.min(seconds * 2, 30);
  }
}

await run(main, "FILE", 1);
