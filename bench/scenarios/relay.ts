import { stopAll } from "../core/children.ts";
import type { Measurement, Scenario, Setup } from "../core/types.ts";
import { pathThrough, startOrigin, startYardsticks } from "./yardsticks.ts";

/** A visitor's request through the relay to a target behind a connector, beside what runtime and target cost without it. */
export function relayScenario(measurement: Measurement): Scenario {
  return { name: "relay", title: "edge → relay → connector → target", measurement, start };
}

async function start(folder: string): Promise<Setup> {
  const cleanUp: (() => Promise<void>)[] = [];
  const stop = () => stopAll(cleanUp);
  try {
    const origin = await startOrigin(folder);
    cleanUp.push(origin.child.stop);
    const yardsticks = await startYardsticks(folder, { "bare-proxy": origin.url });
    cleanUp.push(yardsticks.child.stop);
    const yardstick = { kind: "yardstick" } as const;
    return {
      paths: [
        pathThrough([origin], { ...yardstick, key: "direct", title: "target" }),
        pathThrough([yardsticks.hop("bare-proxy"), origin], {
          ...yardstick,
          key: "bare-proxy",
          title: "bare proxy Worker → target",
        }),
        pathThrough([yardsticks.hop("null-object")], {
          ...yardstick,
          key: "null-object",
          title: "Worker → Durable Object that answers (null object)",
        }),
      ],
      ratios: [],
      versions: {},
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
