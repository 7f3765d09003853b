/** A client of quell's API: Node's own fetch alone, with time limits and retries. */

import { setTimeout as sleep } from "node:timers/promises";

const TIMEOUT_MS = 45_000;
const ATTEMPTS_MAX = 5;

/** An action of the audit: what these examples read of it. */
export interface Action {
  started_at: string;
  action_id: string;
  action: string;
  outcome: string;
  origin: string;
  room_name: string | null;
  identity: string | null;
  track_sid: string | null;
  on_behalf_of: string | null;
  actor: string | null;
  policy_name: string | null;
}

export interface RequestOptions {
  body?: unknown;
  headers?: Record<string, string>;
  /** What ends the request; else it has 45 s in all. */
  signal?: AbortSignal;
}

/** An answer that is no success. */
export class QuellError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, text: string) {
    super(`${status} ${code}: ${text}`);
    this.status = status;
    this.code = code;
  }

  /** What it says. A proxy before quell may answer something else than JSON. */
  static async of(answer: Response): Promise<QuellError> {
    const text = await answer.text();
    try {
      const { code, error } = JSON.parse(text) as { code: string; error: string };
      return new QuellError(answer.status, code, error);
    } catch {
      return new QuellError(answer.status, answer.statusText, text.slice(0, 200));
    }
  }
}

/**
 * Sends a request; comes again when quell says so.
 *
 * 429 and 503 are tried again: to mute twice does no harm, and If-Match keeps a change from being made twice.
 */
export async function send(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
  const headers: Record<string, string> = { authorization: `Bearer ${process.env.QUELL_TOKEN}`, ...options.headers };
  let body: string | null = null;
  if (options.body !== undefined) {
    body = JSON.stringify(options.body);
    headers["content-type"] = "application/json";
  }
  for (let attempt = 1; ; attempt++) {
    const signal = options.signal ?? AbortSignal.timeout(TIMEOUT_MS);
    const answer = await fetch(process.env.QUELL_URL + path, { method, headers, body, signal }).catch((cause) => {
      throw new Error(`${process.env.QUELL_URL} does not answer`, { cause });
    });
    if (answer.ok) return answer;
    const error = await QuellError.of(answer);
    if (![429, 503].includes(error.status) || attempt === ATTEMPTS_MAX) throw error;
    // A proxy may say a date, or nothing.
    await waitFor(error, Number(answer.headers.get("retry-after")) || 1);
  }
}

/** Sends a request; returns the JSON of its answer. */
export async function call<T>(method: string, path: string, options?: RequestOptions): Promise<T> {
  return (await (await send(method, path, options)).json()) as T;
}

/** The items of all pages of a list. */
export async function* pages<T>(path: string, key: string, conditions: Record<string, string> = {}): AsyncGenerator<T> {
  const query = new URLSearchParams(conditions);
  for (;;) {
    const page = await call<{ [key: string]: T[] } & { next_cursor: string | null }>("GET", `${path}?${query}`);
    yield* page[key] ?? [];
    if (page.next_cursor === null) return;
    query.set("cursor", page.next_cursor);
  }
}

/** An action of the audit as a line. */
export function line(action: Action): string {
  const who = action.on_behalf_of ?? action.actor ?? action.policy_name ?? action.origin;
  const { started_at, action_id, outcome, room_name, identity, track_sid } = action;
  const words = [started_at, action_id, action.action, outcome, room_name, identity, track_sid, who];
  return words.map((word) => word ?? "-").join(" ");
}

/** Says why, and waits. */
export async function waitFor(why: unknown, seconds: number): Promise<void> {
  console.error(`${textOf(why)}; again in ${seconds} s`);
  await sleep(seconds * 1000);
}

/** An error in a line, with what led to it. Where several addresses failed, Node says no more than a code. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = error.message || String((error as NodeJS.ErrnoException).code);
  return error.cause === undefined ? text : `${text}: ${textOf(error.cause)}`;
}

/** Runs a program with its arguments, and says in a line what went wrong. */
export async function run<T extends string[]>(
  main: (...words: T) => Promise<void>,
  usage: string,
  argumentsMin: number,
): Promise<void> {
  const words = process.argv.slice(2);
  process.exitCode = 1;
  if (words.length < argumentsMin) return console.error(`usage: ${process.argv[1]} ${usage}`);
  const missing = ["QUELL_URL", "QUELL_TOKEN"].find((name) => !process.env[name]);
  if (missing) return console.error(`set ${missing}: QUELL_URL is where quell is, QUELL_TOKEN an API secret or a JWT`);
  try {
    await main(...(words as T));
    process.exitCode = 0;
  } catch (error) {
    console.error(textOf(error));
  }
}
