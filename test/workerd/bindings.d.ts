/** What the Workers under test offer to their tests: each project has its own part of it (its vitest.config.ts and wrangler file). */
declare namespace Cloudflare {
  interface Env {
    /** relay-control. */
    readonly NODE_CHANNEL: DurableObjectNamespace<import("../../src/relay/node-channel.ts").NodeChannel>;
    /** relay-lane. */
    readonly LANE_OBJECT: DurableObjectNamespace<import("../../src/relay/durable/lane.ts").Lane>;
    /** relay-control, relay-lane: what came through the queue of events. */
    readonly SINK: Fetcher;
  }
  interface GlobalProps {
    readonly mainModule: { readonly default: ExportedHandler };
  }
}
