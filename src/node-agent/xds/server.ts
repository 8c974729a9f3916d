import { chmod, mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { z } from "zod";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import { adsService, encodeEmptyRoutes } from "./codec.ts";
import { GATE } from "../envoy/gate.ts";
import type { Planner, PlannerEffect, ResourceType } from "./planner.ts";

/** The planner's hands: a delta ADS server for one Envoy on a Unix socket. */
export interface XdsServer {
  /** Carries out what the planner's `put` and `remove` returned. */
  run(effects: readonly PlannerEffect[]): void;
  /** Whether an Envoy has a stream open. */
  connected(): boolean;
  /** Whether that Envoy has all that it needs to open its ports. */
  ready(): boolean;
  /** With `holdGate`: lets Envoy open its ports. */
  openGate(): void;
  close(): Promise<void>;
}

const TYPE_URL: Record<ResourceType, string> = {
  cluster: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
  scope: "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration",
};
const TYPE_OF_URL = new Map<string, ResourceType>([
  [TYPE_URL.cluster, "cluster"],
  [TYPE_URL.scope, "scope"],
]);

const deltaRequest = z.object({
  type_url: z.string().default(""),
  response_nonce: z.string().default(""),
  initial_resource_versions: z.record(z.string(), z.string()).default({}),
  error_detail: z.object({ message: z.string().default("") }).nullish(),
});

type Stream = ServerDuplexStream<unknown, unknown>;

/** What a listener that waits for the agent's word asks for (envoy/gate.ts). */
const GATE_TYPE_URL = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/** `onEffect` gets every effect but the sends. The socket's directory is made private to this user; a socket left behind is replaced. */
export async function startXdsServer(options: {
  readonly socketPath: string;
  readonly planner: Planner;
  readonly onEffect: (effect: Exclude<PlannerEffect, { kind: "send" }>) => void;
  /** Whether Envoy opens its ports by `openGate`. Default: as soon as it has answered to all that there was. */
  readonly holdGate?: boolean;
  readonly log: Logger;
}): Promise<XdsServer> {
  const { socketPath, planner, onEffect, log } = options;
  let current: Stream | null = null;
  let gate: "unasked" | "asked" | "sent" | "open" = "unasked";
  let mayOpen = options.holdGate !== true;
  let watchdog: NodeJS.Timeout | undefined;

  const run = (effects: readonly PlannerEffect[]): void => {
    for (const effect of effects) {
      if (effect.kind !== "send") {
        onEffect(effect);
        continue;
      }
      current?.write({
        type_url: TYPE_URL[effect.type],
        nonce: effect.nonce,
        resources: effect.resources.map(({ name, version, bytes }) => ({
          name,
          version,
          resource: { type_url: TYPE_URL[effect.type], value: bytes },
        })),
        removed_resources: effect.removed,
      });
      watch(effect.nonce);
    }
    if (gate === "asked" && mayOpen && planner.settled()) sendGate();
  };

  const sendGate = (): void => {
    gate = "sent";
    const resource = { type_url: GATE_TYPE_URL, value: encodeEmptyRoutes(GATE) };
    const resources = [{ name: GATE, version: "1", resource }];
    current?.write({ type_url: GATE_TYPE_URL, nonce: GATE, resources, removed_resources: [] });
  };

  /** It is asked for once a stream; an Envoy that has it from an earlier stream says so. */
  const onGateRequest = (held: boolean, nonce: string): void => {
    if (held || nonce === GATE) gate = "open";
    else if (gate === "unasked") gate = "asked";
    run([]);
  };

  /** A response that is never answered would stop everything behind it. */
  const watch = (nonce: string): void => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      if (planner.waitingFor() !== nonce) return;
      log.warn("envoy did not answer; its stream is closed so that it starts over", { nonce });
      current?.end();
    }, LIMITS.acknowledgeTimeoutMs);
    watchdog.unref();
  };

  const onStream = (stream: Stream): void => {
    // Only one Envoy runs beside an agent: a new stream is its reconnect, or a new Envoy process.
    current?.end();
    planner.closed();
    current = stream;
    gate = "unasked";
    const asked = new Set<ResourceType>();
    log.info("envoy opened its configuration stream");
    stream.on("data", (data: unknown) => {
      if (stream !== current) return;
      const request = deltaRequest.safeParse(data);
      if (!request.success) return;
      const { type_url: typeUrl, initial_resource_versions: versions, response_nonce: nonce } = request.data;
      if (typeUrl === GATE_TYPE_URL) return onGateRequest(versions[GATE] !== undefined, nonce);
      const type = TYPE_OF_URL.get(typeUrl);
      if (type === undefined) return;
      if (!asked.has(type)) {
        asked.add(type);
        run(planner.subscribed(type, new Map(Object.entries(versions))));
      } else if (nonce !== "") {
        const error = request.data.error_detail ?? null;
        if (error !== null) log.warn("envoy rejected a configuration", { reason: error.message });
        run(planner.answered(nonce, error === null ? null : error.message || "rejected without a reason"));
      }
    });
    const ended = (): void => {
      if (stream !== current) return;
      current = null;
      planner.closed();
      log.info("envoy's configuration stream ended");
    };
    stream.on("end", () => {
      stream.end();
      ended();
    });
    stream.on("error", ended);
    stream.on("cancelled", ended);
    stream.on("close", ended);
  };

  await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 });
  await rm(socketPath, { force: true });
  // Envoy names all it holds when it reconnects: 1.5 MB at 10,000 tenants.
  const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  server.addService(adsService(), { DeltaAggregatedResources: onStream });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  await chmod(socketPath, 0o600);
  return {
    run,
    connected: () => current !== null,
    ready: () => current !== null && gate === "open" && planner.serving(),
    openGate() {
      mayOpen = true;
      run([]);
    },
    async close() {
      clearTimeout(watchdog);
      planner.closed();
      current = null;
      server.forceShutdown();
      await rm(socketPath, { force: true });
    },
  };
}
