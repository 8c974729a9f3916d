import { createAsserter } from "../../src/connector/assertion.ts";
import { createCarrier } from "../../src/connector/carrier.ts";
import type { Lane } from "../../src/connector/config.ts";
import type { PrivateJwk } from "../../src/connector/credentials.ts";
import { dial } from "../../src/connector/dial.ts";
import { BACKOFF_CAP_MS, SLABS } from "../../src/connector/limits.ts";
import { createLink, type Link } from "../../src/connector/link.ts";
import { createSlabs } from "../../src/shared/slabs.node.ts";
import type { OpenRequest } from "../../src/protocol/tunnel/session.ts";
import { createLogger } from "../../src/shared/log.ts";

/** Many connectors in one process: the connector's own links, dials and sessions, without targets' clients and files. */
export interface Crowd {
  /** Links that can bring requests. */
  readonly ready: number;
  readonly size: number;
  /** When each link that is ready became so, in milliseconds since the epoch. */
  readySince(): number[];
  /** Why dials failed and sockets ended since the last call, with how often. */
  takeLosses(): Record<string, number>;
  stop(): void;
}

export interface CrowdOptions {
  /** "http://relay.example.com:8080" */
  readonly relayUrl: string;
  readonly key: { readonly keyId: string; readonly privateKey: PrivateJwk };
  /** One for each: tenant, connector's name, instance and lanes. */
  readonly members: readonly CrowdMember[];
  /** Text that a request is answered with; default "ok". */
  readonly answer?: (request: OpenRequest) => string;
}

export interface CrowdMember {
  readonly tenant: string;
  readonly connector: string;
  readonly instance: string;
  readonly lanes: readonly Lane[];
}

const BUDGET_BYTES = 64 * 1024 * 1024;

/** All dial at once. Each answers every request with 200. */
export function startCrowd({ relayUrl, key, members, answer = () => "ok" }: CrowdOptions): Crowd {
  const budget = { totalBytes: BUDGET_BYTES, committedBytes: 0 };
  const slabs = createSlabs(SLABS);
  const now = (): number => performance.now();
  const since = new Map<Link, number>();
  let losses: Record<string, number> = {};
  // Only what a link says of its losses is of interest, without the numbers in it.
  const log = createLogger(
    "crowd",
    (line) => {
      const [, reason = "?"] = /"reason":"([^"]*)"/.exec(line) ?? [];
      losses[reason] = (losses[reason] ?? 0) + 1;
    },
    { level: "warn" },
  );

  const linkOf = (member: CrowdMember, lane: Lane, assertion: () => Promise<string>): Link => {
    const url = new URL(`/connect/${lane}`, relayUrl.replace(/^http/, "ws"));
    const link: Link = createLink(lane, {
      now,
      random: Math.random,
      log,
      backoffCapMs: () => BACKOFF_CAP_MS,
      changed() {
        if (link.state.t !== "ready") since.delete(link);
        else if (!since.has(link)) since.set(link, Date.now());
      },
      dial: (events) =>
        dial(
          {
            pass: async () => ({ ok: true, value: { url, token: await assertion() } }),
            proxyEnv: {},
            ca: null,
            now: Date.now,
            software: "crowd",
          },
          events,
        ),
      carry: (socket, events) =>
        createCarrier(
          {
            socket,
            instanceId: member.instance,
            targets: ["ping"],
            software: "crowd",
            budget,
            slabs,
            passed: () => undefined,
            now,
            keepAliveMs: () => null,
          },
          {
            ...events,
            tokenAccepted: () => undefined,
            config: () => undefined,
            open(stream, request) {
              stream.respond({ status: 200, headers: [["content-type", "text/plain"]] }, false);
              stream.write(new TextEncoder().encode(answer(request)));
              stream.end();
              return { data: (bytes) => stream.consumed(bytes.length) };
            },
          },
        ),
    });
    return link;
  };

  const links = members.flatMap((member) => {
    const identity = { subject: `${member.tenant}/${member.connector}`, audience: relayUrl, ...key };
    const assertion = createAsserter(identity, Date.now);
    return member.lanes.map((lane) => linkOf(member, lane, assertion));
  });
  for (const link of links) link.start();
  return {
    get ready() {
      return since.size;
    },
    size: links.length,
    readySince: () => [...since.values()],
    takeLosses() {
      const taken = losses;
      losses = {};
      return taken;
    },
    stop() {
      for (const link of links) link.stop("over");
    },
  };
}
