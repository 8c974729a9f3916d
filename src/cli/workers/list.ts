import { join } from "node:path";
import { PACKAGE_ROOT } from "../local/paths.ts";

/**
 * The seven Workers, in the order in which they are deployed: whatever another one binds to comes before it, but for portal and edge: the
 * portal binds to the console and is bound to by it, the provisioner's jobs call the edge (an account knows both by their secrets before their
 * first deploy). `drains`: the side of the relay
 * that is emptied before, since a deploy ends all of its sockets.
 */
export const WORKERS = [
  { name: "causeway-relay-control", config: "src/relay/relay-control.wrangler.toml" },
  { name: "causeway-relay-a", config: "src/relay/relay-a.wrangler.toml", drains: "a" },
  { name: "causeway-relay-b", config: "src/relay/relay-b.wrangler.toml", drains: "b" },
  { name: "causeway-provisioner", config: "src/provisioner/wrangler.toml" },
  { name: "causeway-console", config: "src/console/wrangler.toml" },
  { name: "causeway-portal", config: "src/portal/wrangler.toml" },
  { name: "causeway-edge", config: "wrangler.toml" },
] as const;

export const configPath = (worker: { readonly config: string }): string => join(PACKAGE_ROOT, worker.config);
