import type { ByteBudget } from "../protocol/tunnel/session.ts";
import type { Logger } from "../shared/log.ts";
import { createAsserter } from "./assertion.ts";
import { createCarrier } from "./carrier.ts";
import type { ConnectorConfig, Lane } from "./config.ts";
import { dial } from "./dial.ts";
import { RECEIVE_BUDGET_BYTES } from "./limits.ts";
import { createLink, type Link, type LinkState } from "./link.ts";
import { proxyFor } from "./proxy.ts";
import { createSlabs } from "./slabs.ts";
import { createTargetSet, type TargetChange, type TargetCount } from "./targets/target-set.ts";

/** How a connector ended. `text` is for people. */
export type ConnectorExit =
  /** It was asked to stop, and its links are closed. */
  | { readonly kind: "drained" }
  /** No lane takes the credential. */
  | { readonly kind: "auth"; readonly text: string }
  | { readonly kind: "version"; readonly text: string }
  /** Another process with the same instance id took over every lane. */
  | { readonly kind: "replaced"; readonly text: string }
  /** `stop` was called. */
  | { readonly kind: "stopped" };

export interface ConnectorPorts {
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface LinkStatus {
  readonly lane: Lane;
  readonly state: LinkState["t"];
  readonly openStreams: number;
  readonly losses: number;
  readonly rttMs: number | null;
}

export interface Reconfigured extends TargetChange {
  /** A new key is used from the next dial on. */
  readonly key: boolean;
  /** Settings that differ and were not applied: they need a restart. */
  readonly needRestart: readonly string[];
}

export interface Connector {
  /** Never rejects. */
  readonly done: Promise<ConnectorExit>;
  /** True while at least one lane can bring requests. */
  readonly ready: boolean;
  links(): readonly LinkStatus[];
  targets(): readonly TargetCount[];
  /** How often `reconfigure` was called. */
  readonly reloads: number;
  /** Takes targets, key and drain time of a new configuration while requests run; none is lost. */
  reconfigure(next: ConnectorConfig): Reconfigured;
  /** Takes no new requests, finishes the open ones (up to the configured time), then ends. */
  drain(reason: string): void;
  /** Ends at once; open requests are lost. */
  stop(): void;
}

/** Name and version, as the relay's operators see them. */
const SOFTWARE = `causeway-connector (node ${process.version})`;

/** By their names in the configuration file. */
const RESTART_SETTINGS: readonly (readonly [name: string, valueOf: (config: ConnectorConfig) => unknown])[] = [
  ["relay", ({ relayUrl }) => relayUrl.href],
  ["tenant", ({ tenant }) => tenant],
  ["connector", ({ connector }) => connector],
  ["instance", ({ instanceId }) => instanceId],
  ["lanes", ({ lanes }) => lanes.join()],
  ["ca", ({ ca }) => ca],
  ["healthPort", ({ healthPort }) => healthPort],
  ["reconnectMax", ({ backoffCapMs }) => backoffCapMs],
];

/** Runs until it is drained, stopped, or no lane will have it. Network errors are retried for ever. */
export function startConnector(first: ConnectorConfig, ports: ConnectorPorts): Connector {
  let config = first;
  let reloads = 0;
  const { log, now } = ports;
  const budget: ByteBudget = { totalBytes: RECEIVE_BUDGET_BYTES, committedBytes: 0 };
  const slabs = createSlabs();
  const targets = createTargetSet(config.targets, { log, ca: config.ca });
  let assertion = createAsserter({ ...config, audience: config.relayUrl.origin }, now);
  const proxy = proxyFor(config.relayUrl, config.proxyEnv);

  const linkOf = (lane: Lane): Link => {
    const url = new URL(`/connect/${lane}`, config.relayUrl);
    url.protocol = config.relayUrl.protocol === "https:" ? "wss:" : "ws:";
    return createLink(lane, {
      now,
      random: ports.random,
      log: log.with({ lane }),
      backoffCapMs: config.backoffCapMs,
      changed: settle,
      dial: (events) =>
        dial({ url, proxy, ca: config.ca, assertion: () => assertion(), now, software: SOFTWARE }, events),
      carry: (socket, events) =>
        createCarrier(
          {
            socket,
            instanceId: config.instanceId,
            targets: targets.names,
            software: SOFTWARE,
            budget,
            slabs,
            now,
          },
          { ...events, open: (stream, request) => targets.open(stream, request) },
        ),
    });
  };

  const { promise: done, resolve } = Promise.withResolvers<ConnectorExit>();
  let exit: ConnectorExit | null = null;
  let draining = false;

  const finish = (how: ConnectorExit): void => {
    if (exit !== null) return;
    exit = how;
    for (const link of links) link.stop(how.kind);
    targets.close();
    resolve(how);
  };

  /** Looks at all links after each change: one lane that works is enough to go on. */
  function settle(): void {
    if (exit !== null) return;
    const states = links.map((link) => link.state);
    if (draining) {
      if (links.every((link) => link.state.t === "stopped" && link.sockets === 0)) finish({ kind: "drained" });
      return;
    }
    if (states.some(({ t }) => t === "ready" || t === "connecting")) return;
    for (const state of states) if (state.t === "waiting" && state.refused !== null) return finish(state.refused);
    const stopped = states.find(({ t }) => t === "stopped");
    if (stopped?.t === "stopped" && states.every(({ t }) => t === "stopped")) {
      finish({ kind: "replaced", text: stopped.why });
    }
  }

  const links: Link[] = [];
  for (const lane of config.lanes) links.push(linkOf(lane));
  for (const link of links) link.start();

  return {
    done,
    get ready() {
      return exit === null && !draining && links.some(({ state }) => state.t === "ready");
    },
    links: () =>
      links.map(({ lane, state, openStreams, losses, rttMs }) => ({
        lane,
        state: state.t,
        openStreams,
        losses,
        rttMs,
      })),
    targets: () => targets.counts(),
    get reloads() {
      return reloads;
    },
    reconfigure(next) {
      reloads += 1;
      const needRestart = RESTART_SETTINGS.filter(([, valueOf]) => valueOf(next) !== valueOf(config));
      const key = next.keyId !== config.keyId || next.privateKey.d !== config.privateKey.d;
      const { keyId, privateKey, drainTimeoutMs } = next;
      config = { ...config, targets: next.targets, keyId, privateKey, drainTimeoutMs };
      if (key) assertion = createAsserter({ ...config, audience: config.relayUrl.origin }, now);
      const change = targets.apply(next.targets);
      if (change.added.length + change.removed.length > 0) for (const link of links) link.announce(targets.names);
      return { ...change, key, needRestart: needRestart.map(([name]) => name) };
    },
    drain(reason) {
      if (draining || exit !== null) return;
      draining = true;
      log.info("draining", { reason, openRequests: links.reduce((sum, link) => sum + link.openStreams, 0) });
      for (const link of links) link.drain(reason, config.drainTimeoutMs);
      settle();
    },
    stop: () => finish({ kind: "stopped" }),
  };
}
