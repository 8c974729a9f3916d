import { readdirSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isDeepStrictEqual } from "node:util";
import { expect } from "vitest";
import { until } from "../../support/until.ts";
import { createSite, type Site } from "../connector/site.ts";
import type { RelayHost } from "./host.ts";

/** What belongs to one failure: a site, a relay or two, and a target whose requests wait until they are let go. */
export interface Scene {
  readonly site: Site;
  readonly hosts: RelayHost[];
  /** Answers "ok"; to `/hang` only once `release` was called. */
  readonly targetUrl: string;
  /** Requests for `/hang` that reached the target. */
  readonly hanging: () => number;
  /** From here on `/hang` is answered at once, also what waits. */
  release(): void;
  close(): Promise<void>;
}

export async function createScene(
  handle: (request: IncomingMessage, response: ServerResponse) => boolean = () => false,
): Promise<Scene> {
  const site = createSite();
  const hosts: RelayHost[] = [];
  const waiting: ServerResponse[] = [];
  let count = 0;
  let isReleased = false;
  const targetUrl = await site.target((request, response) => {
    if (handle(request, response)) return;
    request.resume();
    if (request.url === "/hang") count += 1;
    if (request.url !== "/hang") response.end("ok");
    else if (isReleased) response.end("late");
    else waiting.push(response);
  });
  return {
    site,
    hosts,
    targetUrl,
    hanging: () => count,
    release() {
      isReleased = true;
      for (const response of waiting) response.end("late");
    },
    async close() {
      // What stands still can't be ended by anything gentler, and is not waited for by what talks to it.
      await Promise.all(hosts.map((host) => host.stop()));
      await site.close();
    },
  };
}

/** The sum of a metric over its labels. */
export async function metric({ adminPort }: RelayHost, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
  return [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? ([0-9.e+]+)$`, "gm"))].reduce(
    (sum, [, value]) => sum + Number(value),
    0,
  );
}

/** Nothing is left of what ran: no request, no byte, and no connection but those of the connectors, which are no HTTP any more. */
export async function nothingLeft(host: RelayHost, connectorSockets: number): Promise<void> {
  const names = ["requests_open", "accounted_bytes", "connector_sockets", "connections"];
  let found: number[] = [];
  await until("nothing is left", async () => {
    found = await Promise.all(names.map((name) => metric(host, `causeway_relay_${name}`)));
    return isDeepStrictEqual(found, [0, 0, connectorSockets, 0]);
  }).catch(() => undefined);
  expect(found, names.join()).toEqual([0, 0, connectorSockets, 0]);
}

/** Open descriptors of a process. Linux only. */
export const descriptors = (pid: number | undefined): number => readdirSync(`/proc/${pid}/fd`).length;
