import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { stopAll } from "../core/children.ts";
import type { LoadGenerator } from "../core/load-generator.ts";
import type { Measurement, Path, Ratio, Scenario, Setup } from "../core/types.ts";
import { measureBulk } from "../measure/bulk.ts";
import { measureEvents, measureWebSockets } from "../measure/messages.ts";
import { measureRecovery } from "../measure/recovery.ts";
import { measureRequests } from "../measure/requests.ts";
import { measureStalledReaders } from "../measure/stalled-readers.ts";
import { measureTinyUnderBulk } from "../measure/tiny-under-bulk.ts";
import { envoyProxy } from "../tunnels/envoy-proxy.ts";
import { nodeRelay } from "../tunnels/node-relay.ts";
import { peers } from "../tunnels/peers.ts";
import { longWay, straight, type Tunnel } from "../tunnels/tunnel.ts";
import { workersRelay } from "../tunnels/workers-relay.ts";
import { pathThrough, startOrigin, startYardsticks } from "./yardsticks.ts";

const OURS = [nodeRelay, workersRelay];
const ALL: readonly Tunnel[] = [...OURS, envoyProxy, ...peers];
/** A simulated path between relay and connector. */
const WAN_ONE_WAY_MS = 50;
const WAN_LOSS = 0.001;

/** The relay on both hosts beside its yardsticks and whatever peer is on PATH: all there is to know about it, one measurement a scenario. */
export function tunnelScenarios(generator: LoadGenerator): readonly Scenario[] {
  const scenario = (name: string, title: string, measurement: Measurement, world: World): Scenario => ({
    name: `relay-${name}`,
    title,
    measurement,
    start: (folder, isWanted) => start(folder, world, isWanted),
  });
  return [
    scenario("requests", "small requests", measureRequests(generator), { tunnels: ALL, workerdYardsticks: true }),
    scenario("bulk", "long transfers", measureBulk, { tunnels: ALL }),
    scenario("messages", "WebSocket echo", measureWebSockets, { tunnels: ALL }),
    scenario("events", "delay of server-sent events", measureEvents, { tunnels: ALL }),
    scenario("tiny", "small requests beside bulk", measureTinyUnderBulk(generator), { tunnels: ALL }),
    scenario("stalled", "memory with readers that stand still", measureStalledReaders(generator), { tunnels: ALL }),
    scenario("recovery", "back after SIGKILL", measureRecovery, { tunnels: [nodeRelay, ...peers], direct: false }),
    scenario("wan", "long transfers, 100 ms round trip", measureBulk, { tunnels: [...OURS, ...peers], loss: 0 }),
    scenario("loss", "long transfers, 100 ms round trip, 0.1 % loss", measureBulk, {
      tunnels: [...OURS, ...peers],
      loss: WAN_LOSS,
    }),
  ];
}

interface World {
  readonly tunnels: readonly Tunnel[];
  /** What requests on workerd are measured by. */
  readonly workerdYardsticks?: boolean;
  /** The origin without a tunnel. Default true. */
  readonly direct?: boolean;
  /** Given: the clients dial through a long path with this loss. */
  readonly loss?: number;
}

async function start(folder: string, world: World, isWanted: (key: string) => boolean): Promise<Setup> {
  const cleanUp: (() => Promise<void>)[] = [];
  const stop = () => stopAll(cleanUp);
  try {
    const origin = await startOrigin(folder);
    cleanUp.push(origin.child.stop);
    const paths: Path[] = [];
    if (world.direct !== false && world.loss === undefined) {
      paths.push(pathThrough([origin], { key: "direct", title: "origin", kind: "yardstick" }));
    }
    if (world.workerdYardsticks === true) {
      const yardsticks = await startYardsticks(folder, { "bare-proxy": origin.url });
      cleanUp.push(yardsticks.child.stop);
      paths.push(
        pathThrough([yardsticks.hop("bare-proxy"), origin], {
          key: "bare-proxy",
          title: "bare proxy Worker → origin",
          kind: "yardstick",
        }),
        pathThrough([yardsticks.hop("null-object")], {
          key: "null-object",
          title: "Worker → Durable Object that answers (the null object)",
          kind: "yardstick",
        }),
      );
    }
    for (const tunnel of world.tunnels.filter(({ key }) => isWanted(key))) {
      const own = join(folder, tunnel.key);
      await mkdir(own);
      const way = world.loss === undefined ? null : longWay(own, WAN_ONE_WAY_MS, world.loss);
      if (way !== null) cleanUp.push(way.stop);
      const running = await tunnel.start({ folder: own, origin, dial: way?.dial ?? straight });
      if (running === null) continue;
      cleanUp.push(running.stop);
      paths.push(running.path);
    }
    return { paths, ratios: ratiosOf(paths), versions: {}, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Each of ours against every yardstick, so that a bar can be read off whichever it names. */
const ratiosOf = (paths: readonly Path[]): Ratio[] =>
  paths
    .filter(({ kind }) => kind === "subject")
    .flatMap(({ key: of }) => paths.filter(({ kind }) => kind === "yardstick").map(({ key: to }) => ({ of, to })));
