import { request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { Path } from "./types.ts";

/** What one GET got, or why it got nothing. */
export interface ProbeAnswer {
  readonly status: number;
  readonly body: string;
}

/** One GET on the path, by node:http because fetch can't set Host. Status 0 with the reason as body when nothing answered. */
export async function probe(path: Pick<Path, "url" | "headers">): Promise<ProbeAnswer> {
  const headers = { ...(await path.headers()) };
  return new Promise((resolve) => {
    const fail = (error: Error) => resolve({ status: 0, body: error.message });
    const outgoing = request(path.url, { headers, agent: false, timeout: 5_000 }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", fail);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer within 5 s")));
    outgoing.on("error", fail);
    outgoing.end();
  });
}

/** Every measured answer is this long: 128 bytes, as the null object's. */
export const BODY_BYTES = 128;

export const answersWell = (answer: ProbeAnswer): boolean => answer.status === 200 && answer.body.length === BODY_BYTES;

const COME_UP_MS = 15_000;

/** Waits for a good answer, for a tunnel that has just been started. False: there is none. */
export async function comesUp(path: Pick<Path, "url" | "headers">): Promise<boolean> {
  const until = performance.now() + COME_UP_MS;
  while (!answersWell(await probe(path))) {
    if (performance.now() > until) return false;
    await delay(50);
  }
  return true;
}
