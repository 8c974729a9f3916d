import type { Logger } from "../../shared/log.ts";
import type { ComposeUpstream } from "./compose.ts";
import type { StatePaths } from "./paths.ts";
import type { PostgresInstallation } from "./postgres-binaries.ts";
import type { Report } from "./progress.ts";
import type { StackSecrets } from "./secrets.ts";
import type { Supervisor } from "./supervisor.ts";

/** Where Postgres, the nodes and the demo site run: as processes of this machine (the default), or as containers. */
export const UPSTREAM_KINDS = ["process", "compose"] as const;
export type UpstreamKind = (typeof UPSTREAM_KINDS)[number];
export type Upstream =
  | { readonly kind: "process"; readonly postgres: PostgresInstallation; readonly envoy: Promise<string> }
  | { readonly kind: "compose"; readonly containers: ComposeUpstream };

export const BASE_DOMAIN = "causeway.localhost";

/** What the pieces of a start share. */
export interface StackContext {
  readonly paths: StatePaths;
  readonly secrets: StackSecrets;
  /** Keeps changed secrets. */
  readonly saveSecrets: () => void;
  readonly edgePort: number;
  readonly consolePort: number;
  /** A port of the stack by name. */
  readonly port: (name: PortName) => number;
  /** The same, when the part that listens there is started right now. */
  readonly usePort: (name: PortName) => number;
  readonly upstream: Upstream;
  readonly supervisor: Supervisor;
  readonly report: Report;
  readonly log: Logger;
  /** Raised when the start is given up (Ctrl-C). */
  readonly signal: AbortSignal;
}

export const NODE_NAMES = ["walter-white", "hank-schrader"] as const;
export type NodeName = (typeof NODE_NAMES)[number];

/** Two instances of one connector share its load; each is a part of its own. */
export const CONNECTOR_INSTANCES = ["plant-1-a", "plant-1-b"] as const;
export type ConnectorInstance = (typeof CONNECTOR_INSTANCES)[number];

export type PortName =
  | "postgres"
  | "target-demo"
  | `${"envoy" | "admin" | "health"}-${NodeName}`
  | `health-${ConnectorInstance}`;
export const PORT_NAMES: readonly PortName[] = [
  "postgres",
  "target-demo",
  ...NODE_NAMES.flatMap((name) => [`envoy-${name}`, `admin-${name}`, `health-${name}`] as const),
  ...CONNECTOR_INSTANCES.map((name) => `health-${name}` as const),
];

export const edgeUrl = (context: StackContext): string => `http://127.0.0.1:${context.edgePort}`;
export const relayUrl = (context: StackContext): string => `http://relay.${BASE_DOMAIN}:${context.edgePort}`;
export const consoleUrl = (context: StackContext): string => `http://127.0.0.1:${context.consolePort}`;
