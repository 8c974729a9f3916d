import type { ByteBudget, ConfigAck, PushedConfig } from "../protocol/tunnel/session.ts";
import type { Logger } from "../shared/log.ts";
import type { SpanCounts } from "../shared/tracing/exporter.ts";
import type { Tracer } from "../shared/tracing/tracer.ts";
import { createAudit, type AuditPorts } from "./audit.ts";
import { createBearer, type Bearer } from "./bearer.ts";
import { createCarrier } from "./carrier.ts";
import type { ConnectorConfig, Lane } from "./config.ts";
import { sameCredential } from "./credential.ts";
import { dial } from "./dial.ts";
import type { RelayEndpoints } from "./discovery.ts";
import type { LinkLoss } from "./ending.ts";
import {
  BACKOFF_CAP_MS,
  COLLECT_EVERY_BYTES,
  LONGEST_TIMER_MS,
  RECEIVE_BUDGET_BYTES,
  SESSION_LIMITS,
  STARTUP_REFUSALS,
  SLABS,
} from "./limits.ts";
import { createLink, type Link, type LinkState } from "./link.ts";
import { machineAddresses, watchNetwork } from "./network-watch.ts";
import { mergeTargets, pushedTargets, readKept, writeKept, type KeptConfig } from "./pushed-config.ts";
import { createLoadMeter, createReporter } from "./reporter.ts";
import { createCollector } from "../shared/collector.node.ts";
import { createSlabs } from "../shared/slabs.node.ts";
import { createSpanWatch } from "./spans.ts";
import type { TargetConfig } from "./targets/target-config.ts";
import { createTargetSet, type TargetChange, type TargetCount } from "./targets/target-set.ts";

/** How a connector ended. `text` is for people. */
export type ConnectorExit =
  /** It was asked to stop, and its links are closed. */
  | { readonly kind: "drained" }
  /** No lane takes the credential, from the start on. */
  | { readonly kind: "auth"; readonly text: string }
  | { readonly kind: "version"; readonly text: string }
  /** Another process with the same instance id took over every lane. */
  | { readonly kind: "replaced"; readonly text: string }
  /** The time that the control plane gave it is over. */
  | { readonly kind: "expired"; readonly text: string }
  /** `stop` was called. */
  | { readonly kind: "stopped" };

export interface ConnectorPorts {
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds of a clock that nobody sets. */
  readonly monotonic: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly audit: Pick<AuditPorts, "level" | "write">;
  /** Default: null, traces are off. The caller ends it. */
  readonly tracer?: Tracer | null;
}

export interface LinkStatus {
  readonly lane: Lane;
  readonly state: LinkState["t"];
  readonly openStreams: number;
  /** Sockets that greeted, and dials that failed or sockets that were lost, since the start. */
  readonly ups: number;
  readonly losses: number;
  readonly rttMs: number | null;
}

export interface Reconfigured extends TargetChange {
  /** A new key or secret is used from the next dial on. */
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
  /** Names of the targets whose health check fails. */
  readonly unhealthy: readonly string[];
  /** How often `reconfigure` was called. */
  readonly reloads: number;
  /** Revision of the pushed configuration that is in force; null: none was pushed. */
  readonly pushedRevision: number | null;
  /** When the access token runs out, in milliseconds since the epoch; null: none is used. */
  readonly tokenExpiresAtMs: number | null;
  /** Spans of traces, by what became of them; null: traces are off. */
  readonly spans: SpanCounts | null;
  /** Bytes that relays may have sent and targets have not taken. */
  readonly receiveBudget: Readonly<ByteBudget>;
  /** Takes targets, key and drain time of a new configuration while requests run; none is lost. */
  reconfigure(next: ConnectorConfig): Reconfigured;
  /** Takes no new requests, finishes the open ones (up to the configured time), then ends. */
  drain(reason: string): void;
  /** Ends at once; open requests are lost. */
  stop(): void;
}

/** Name and version, as the relay's operators see them. */
export const SOFTWARE = `causeway-connector (node ${process.version})`;

const ownerOf = ({ tenant, connector }: ConnectorConfig): string => `${tenant}/${connector ?? ""}`;

/** By their names in the configuration file. */
const RESTART_SETTINGS: readonly (readonly [name: string, valueOf: (config: ConnectorConfig) => unknown])[] = [
  ["relay", ({ relayUrl }) => relayUrl.href],
  ["tenant", ({ tenant }) => tenant],
  ["connector", ({ connector }) => connector],
  ["instance", ({ instanceId }) => instanceId],
  ["lanes", ({ lanes }) => lanes.join()],
  ["originClient", ({ originClient }) => originClient],
  ["ca", ({ ca }) => ca],
  ["healthPort", ({ healthPort }) => healthPort],
  ["stateDir", ({ pushedFile }) => pushedFile],
];

/** Runs until it is drained, stopped, its time is over, or no lane takes it from the start on. Network errors, and refusals once it was online, are retried for ever. */
export function startConnector(first: ConnectorConfig, ports: ConnectorPorts): Connector {
  let config = first;
  let reloads = 0;
  let kept: KeptConfig | null = config.pushedFile === null ? null : readKept(config.pushedFile, ownerOf(config));
  let fromControl = keptTargets();
  let endpoints: RelayEndpoints | null = null;
  const { log, now } = ports;
  const budget: ByteBudget = { totalBytes: RECEIVE_BUDGET_BYTES, committedBytes: 0 };
  const slabs = createSlabs(SLABS);
  const collector = createCollector(COLLECT_EVERY_BYTES);
  const audit = createAudit({ ...ports.audit, wall: now, now: ports.monotonic });
  const targets = createTargetSet(allTargets(), {
    log,
    ca: config.ca,
    random: ports.random,
    healthChanged: () => reporter.healthChanged(),
    ...(config.originClient === undefined ? {} : { originClient: config.originClient }),
  });
  const tracer = ports.tracer ?? null;
  const { tenant, connector, instanceId } = first;
  const watchSpan = createSpanWatch(tracer, { tenant, connector, instanceId, urlOf: (name) => targets.urlOf(name) });
  let bearer = bearerOf();

  const links: Link[] = [];
  const openStreams = (): number => links.reduce((sum, link) => sum + link.openStreams, 0);
  const reporter = createReporter({
    load: createLoadMeter(openStreams, SESSION_LIMITS.streams),
    unhealthy: () => targets.unhealthy,
    send: (report) => links.forEach((link) => link.report(report)),
  });
  const unwatch = watchNetwork({ addresses: machineAddresses, wall: now, monotonic: ports.monotonic }, (why) => {
    log.info("links are proved", { why });
    for (const link of links) link.networkChanged();
  });

  function bearerOf(): Bearer {
    const way = { ca: config.ca, proxyEnv: config.proxyEnv, software: SOFTWARE };
    return createBearer(config, {
      way,
      log,
      now,
      random: ports.random,
      renewed: (token) => links.forEach((link) => link.renewToken(token)),
    });
  }

  /** A token that was good before may only be too old: then it is no verdict yet. */
  const worthAnother = (loss: LinkLoss, token: string | null, wasTaken: boolean): LinkLoss =>
    loss.kind === "auth" && token !== null && bearer.refused(token, wasTaken)
      ? { kind: "retry", text: `${loss.text}; trying a new token`, retryAfterMs: null }
      : loss;

  const linkOf = (lane: Lane): Link => {
    let presented: string | null = null;
    return createLink(lane, {
      now: ports.monotonic,
      random: ports.random,
      log: log.with({ lane }),
      backoffCapMs: () =>
        // What a relay says to all may only shorten it: with longer pauses a site would not be back in time.
        config.backoffCapMs ??
        kept?.reconnectMaxMs ??
        Math.min(endpoints?.reconnectMaxMs ?? BACKOFF_CAP_MS, BACKOFF_CAP_MS),
      changed: settle,
      dial: (events) =>
        dial(
          {
            async pass() {
              const pass = await bearer.pass();
              if (!pass.ok) return pass;
              ({ endpoints } = pass.value);
              return { ok: true, value: { url: endpoints.connect[lane], token: pass.value.token } };
            },
            proxyEnv: config.proxyEnv,
            ca: config.ca,
            now,
            software: SOFTWARE,
          },
          {
            opened(socket, token) {
              presented = token;
              events.opened(socket);
            },
            failed: (loss, token) => events.failed(worthAnother(loss, token, false)),
          },
        ),
      carry(socket, events) {
        const token = presented;
        let greeted = false;
        const carrier = createCarrier(
          {
            socket,
            instanceId: config.instanceId,
            targets: targets.names,
            software: SOFTWARE,
            budget,
            slabs,
            passed: collector.passed,
            now: ports.monotonic,
            keepAliveMs: () => kept?.keepAliveMs ?? endpoints?.keepAliveMs ?? null,
          },
          {
            ...events,
            ready(peer) {
              greeted = true;
              const report = reporter.current;
              if (report.load > 0 || report.unhealthy.length > 0) carrier.report(report);
              events.ready(peer);
            },
            closed: (loss) => events.closed(worthAnother(loss, token, greeted)),
            tokenAccepted: (lifetimeMs) => log.debug("the relay took the new token", { lane, lifetimeMs }),
            config: (pushed) => carrier.acknowledge(takePushed(pushed)),
            open: (stream, request) =>
              audit.watch(stream, request, () =>
                watchSpan(lane, stream, request, (asked) => targets.open(stream, asked)),
              ),
          },
        );
        return carrier;
      },
    });
  };

  function keptTargets(): readonly TargetConfig[] {
    if (kept === null || !config.pushedTargets) return [];
    const parsed = pushedTargets(kept.targetsJson);
    return parsed.ok ? parsed.value : [];
  }

  function allTargets(): readonly TargetConfig[] {
    return mergeTargets(config.targets, fromControl).targets;
  }

  const applyTargets = (): TargetChange => {
    const change = targets.apply(allTargets());
    if (change.added.length + change.removed.length > 0) for (const link of links) link.announce(targets.names);
    return change;
  };

  /** Both lanes push the same: what is in force already is only acknowledged. */
  const takePushed = (pushed: PushedConfig): ConfigAck => {
    const { revision, targetsJson, keepAliveMs, reconnectMaxMs } = pushed;
    leaveIn(pushed.leaveInMs);
    const next: KeptConfig = { owner: ownerOf(config), revision, targetsJson, keepAliveMs, reconnectMaxMs };
    if (JSON.stringify(next) === JSON.stringify(kept)) return { revision, ok: true, reason: "" };
    const refused = (reason: string): ConfigAck => {
      log.error("the pushed configuration is refused; the old one stays", { revision, reason });
      return { revision, ok: false, reason };
    };
    if (kept !== null && revision < kept.revision) return refused(`revision ${kept.revision} is in force`);
    if (targetsJson !== null && !config.pushedTargets) return refused("this site takes no pushed targets");
    const parsed = pushedTargets(targetsJson);
    if (!parsed.ok) return refused(parsed.error);
    kept = next;
    fromControl = parsed.value;
    const { shadowed } = mergeTargets(config.targets, fromControl);
    const { added, changed, removed } = applyTargets();
    log.info("pushed configuration applied", {
      revision,
      added: added.join(","),
      changed: changed.join(","),
      removed: removed.join(","),
      ownInstead: shadowed.join(","),
      keepAliveMs,
      reconnectMaxMs,
    });
    const problem = config.pushedFile === null ? null : writeKept(config.pushedFile, kept);
    if (problem !== null) log.warn("the pushed configuration can't be kept for the next start", { reason: problem });
    return { revision, ok: true, reason: "" };
  };

  let leaving: NodeJS.Timeout | null = null;
  const leaveIn = (ms: number | null): void => {
    if (leaving !== null) clearTimeout(leaving);
    leaving = null;
    if (ms === null || draining) return;
    const atMs = now() + ms;
    const look = (): void => {
      if (now() >= atMs) return leave("the time that the control plane gave this connector is over");
      leaving = setTimeout(look, Math.min(atMs - now(), LONGEST_TIMER_MS));
      leaving.unref();
    };
    look();
  };

  const { promise: done, resolve } = Promise.withResolvers<ConnectorExit>();
  let exit: ConnectorExit | null = null;
  let draining = false;
  let drainedAs: ConnectorExit = { kind: "drained" };

  const finish = (how: ConnectorExit): void => {
    if (exit !== null) return;
    exit = how;
    if (leaving !== null) clearTimeout(leaving);
    unwatch();
    reporter.close();
    bearer.close();
    for (const link of links) link.stop(how.kind);
    targets.close();
    audit.close();
    collector.close();
    resolve(how);
  };

  const drain = (reason: string): void => {
    if (draining || exit !== null) return;
    draining = true;
    log.info("draining", { reason, openRequests: openStreams() });
    for (const link of links) link.drain(reason, config.drainTimeoutMs);
    settle();
  };

  const leave = (text: string): void => {
    if (draining || exit !== null) return;
    log.error("leaving", { reason: text });
    drainedAs = { kind: "expired", text };
    drain(text);
  };

  /** Looks at all links after each change: one lane that works is enough to go on. */
  function settle(): void {
    if (exit !== null || links.length < config.lanes.length) return;
    const states = links.map((link) => link.state);
    if (draining) {
      if (links.every((link) => link.state.t === "stopped" && link.sockets === 0)) finish(drainedAs);
      return;
    }
    if (states.some(({ t }) => t === "ready" || t === "connecting")) return;
    // Whoever was online once goes on asking: a lock may be taken back, and nobody at the site has to start anything then.
    const wasOnline = links.some(({ ups }) => ups > 0);
    for (const { state, refusals } of links) {
      if (state.t !== "waiting" || state.refused === null) continue;
      if (state.refused.kind === "version" || (!wasOnline && refusals >= STARTUP_REFUSALS))
        return finish(state.refused);
    }
    const stopped = states.find(({ t }) => t === "stopped");
    if (stopped?.t === "stopped" && states.every(({ t }) => t === "stopped")) {
      finish({ kind: "replaced", text: stopped.why });
    }
  }

  for (const lane of config.lanes) links.push(linkOf(lane));
  for (const link of links) link.start();

  return {
    done,
    get ready() {
      return exit === null && !draining && links.some(({ state }) => state.t === "ready");
    },
    links: () =>
      links.map(({ lane, state, openStreams: open, ups, losses, rttMs }) => ({
        lane,
        state: state.t,
        openStreams: open,
        ups,
        losses,
        rttMs,
      })),
    targets: () => targets.counts(),
    get unhealthy() {
      return targets.unhealthy;
    },
    get reloads() {
      return reloads;
    },
    get pushedRevision() {
      return kept?.revision ?? null;
    },
    get tokenExpiresAtMs() {
      return bearer.expiresAtMs;
    },
    spans: tracer?.counts ?? null,
    receiveBudget: budget,
    reconfigure(next) {
      reloads += 1;
      const needRestart = RESTART_SETTINGS.filter(([, valueOf]) => valueOf(next) !== valueOf(config));
      const key = !sameCredential(next.credential, config.credential);
      const { credential, drainTimeoutMs, backoffCapMs } = next;
      config = { ...config, targets: next.targets, credential, drainTimeoutMs, backoffCapMs };
      if (key) {
        bearer.close();
        bearer = bearerOf();
        for (const link of links) link.credentialChanged();
      }
      return { ...applyTargets(), key, needRestart: needRestart.map(([name]) => name) };
    },
    drain,
    stop: () => finish({ kind: "stopped" }),
  };
}
