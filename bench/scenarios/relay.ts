import { type Child, stopAll } from "../core/children.ts";
import type { Measurement, Scenario, Setup } from "../core/types.ts";
import { startOrigin, startYardsticks, yardstickPath } from "./yardsticks.ts";

/** A visitor's request through the relay to a target behind a connector, beside what the runtime and the origin cost without it. */
export function relayScenario(measurement: Measurement): Scenario {
  return { name: "relay", title: "edge → relay → connector → target", measurement, start };
}

async function start(folder: string): Promise<Setup> {
  const started: Child[] = [];
  try {
    const origin = await startOrigin(folder);
    started.push(origin.child);
    const proxy = { key: "bare-proxy", url: origin.url, headers: {} };
    const yardsticks = await startYardsticks(folder, [proxy]);
    started.push(yardsticks.child);
    const originProcess = { name: "origin", pid: origin.child.pid };
    const yardstickProcess = { name: "workerd", pid: yardsticks.child.pid };
    return {
      paths: [
        yardstickPath("direct", "origin", `${origin.url}/`, [originProcess]),
        yardstickPath("bare-proxy", "Worker → origin", `${yardsticks.url("bare-proxy")}/`, [
          yardstickProcess,
          originProcess,
        ]),
        yardstickPath("null-object", "Worker → Durable Object that answers", `${yardsticks.url("null-object")}/`, [
          yardstickProcess,
        ]),
      ],
      ratios: [{ of: "bare-proxy", to: "direct" }],
      stop: () => stopAll(started),
    };
  } catch (error) {
    await stopAll(started);
    throw error;
  }
}
