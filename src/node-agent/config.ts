import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { inputWords } from "../shared/input-words.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { acmeConfig } from "./acme/config.ts";
import { LIMITS } from "./limits.ts";

/** The agent's configuration file (JSON). Paths in it are relative to the file. */
const port = z.number().int().min(1).max(65535);
/** Certificate, key and the authority of both sides of the connections between masters and nodes, PEM. */
const linkFiles = {
  certificateFile: z.string().min(1),
  keyFile: z.string().min(1),
  caFile: z.string().min(1),
};
function isOrigin(text: string): boolean {
  const url = new URL(text);
  return url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "" && url.password === "";
}
const agentFile = z.strictObject({
  /** Everything the agent keeps: last known good, Envoy's files, services' ports and logs. Private to its user. */
  stateDir: z.string().min(1),
  /** What `causeway node enroll` wrote: the node's id and key. */
  credentialsFile: z.string().min(1),
  envoy: z.strictObject({
    /** Path of the Envoy to run. Null: somebody else runs it, with the bootstrap file that the agent writes to `<stateDir>/envoy/bootstrap.json`. */
    binary: z.string().min(1).nullable(),
    /** Where the edge reaches this node. */
    address: z.string().min(1).default("127.0.0.1"),
    port,
    /** Envoy's admin interface, on loopback. */
    adminPort: port,
    /** Certificate (with its chain) and key, PEM, or where to order them; replaced files are taken within seconds. Null: plain HTTP, behind something that ends TLS. */
    tls: z
      .union([
        z.strictObject({ certificateFile: z.string().min(1), keyFile: z.string().min(1) }),
        z.strictObject({ acme: acmeConfig }),
      ])
      .nullable()
      .default(null),
    /** Where devices' MQTT over TLS is taken; needs `tls`. */
    mqttPort: port.nullable().default(null),
    /** Where masters reach this node's open routes; null: nowhere. */
    masters: z
      .strictObject({
        address: z.string().min(1).default("0.0.0.0"),
        port,
        ...linkFiles,
        /** Of the masters that may come: names in their certificates, exactly. */
        names: z.array(z.string().min(1).max(255)).min(1).max(20),
      })
      .nullable()
      .default(null),
    /** How long an Envoy that was replaced by another finishes its requests and keeps its open WebSockets. */
    drainSeconds: z.number().int().min(1).max(86_400).default(LIMITS.drainSeconds),
    /** Worker threads; null: as many as the machine has cores. */
    concurrency: z.number().int().min(1).max(256).nullable().default(null),
  }),
  /** There, this Envoy is a master: the platform's front instead of tenants' node. */
  master: z
    .strictObject({
      /** The edge router, where everything goes that is not openly a node's. Plain http: a network that nobody else is on. */
      edge: z.url({ protocol: /^https?$/ }).refine(isOrigin, "no path, no query, no user"),
      /** Who signs for it; null: the system's authorities. */
      edgeCaFile: z.string().min(1).nullable().default(null),
      link: z.strictObject(linkFiles),
    })
    .nullable()
    .default(null),
  /** Loopback port of /healthz and /readyz; null for none. */
  healthPort: port.nullable().default(null),
  /** What the `process` driver may run, by name. */
  commands: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/),
      z.strictObject({
        argv: z.array(z.string()).min(1),
        cwd: z.string().optional(),
        env: z.record(z.string(), z.string()).default({}),
      }),
    )
    .default({}),
  /** The engine of the `docker` driver; null: none. */
  docker: z
    .strictObject({
      socketPath: z.string().startsWith("/").default("/var/run/docker.sock"),
      /** Network of the engine in which Envoy reaches the containers by name; null: by ports of the host's loopback. */
      network: z.string().min(1).nullable().default(null),
      /** `stateDir` as the engine sees it, when the agent runs in a container itself; null: the same. */
      stateDirOnHost: z.string().startsWith("/").nullable().default(null),
      /** Logins by registry (`docker.io`, `ghcr.io`). */
      registries: z
        .record(z.string().min(1), z.strictObject({ username: z.string().min(1), passwordFile: z.string().min(1) }))
        .default({}),
    })
    .nullable()
    .default(null),
  /** What the `docker` driver may run, by name. */
  images: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/),
      z.strictObject({
        image: z.string().regex(/(?::[\w.-]{1,128}|@sha256:[0-9a-f]{64})$/, "names no tag or digest"),
        port,
        command: z.array(z.string()).min(1).optional(),
        env: z.record(z.string(), z.string()).default({}),
        user: z
          .string()
          .regex(/^\d{1,10}(?::\d{1,10})?$/, "is not uid or uid:gid")
          .optional(),
        memoryMib: z.number().int().min(16).default(512),
        cpus: z.number().min(0.05).default(1),
        processes: z.number().int().min(1).default(512),
        readOnly: z.boolean().default(false),
        data: z.string().startsWith("/").optional(),
        pull: z.enum(["missing", "always", "never"]).default("missing"),
      }),
    )
    .default({}),
  servicePorts: z
    .strictObject({ from: port, to: port })
    .refine(({ from, to }) => from <= to, "from is greater than to")
    .default({ from: LIMITS.servicePortFrom, to: LIMITS.servicePortTo }),
  /** Whether SIGTERM ends tenant services and Envoy too. Default false: they go on, and the next agent adopts them. */
  stopServices: z.boolean().default(false),
});
export type AgentConfig = z.infer<typeof agentFile>;
/** What a configuration file may hold: everything with a default may be left out. */
export type AgentFile = z.input<typeof agentFile>;

/** node.json, mode 0600: who this node is. Holds its private key. */
export const nodeCredentials = z.strictObject({
  nodeId: z.string().min(1).max(64),
  node: z.string().min(1).max(64),
  /** Scheme and host of the relay, for example https://relay.example.com. */
  relayUrl: z.url({ protocol: /^https?$/ }),
  key: z.strictObject({
    kty: z.literal("OKP"),
    crv: z.literal("Ed25519"),
    kid: z.string().min(1).max(64),
    x: z.string().length(43),
    d: z.string().length(43),
  }),
  /** Seals what the agent keeps on disk (256 bits, base64url). Kept when the node enrols anew. */
  storeKey: z.string().length(43),
});
export type NodeCredentials = z.infer<typeof nodeCredentials>;

/** A sentence for people on failure; it never quotes the file's content. */
export function readAgentConfig(path: string): Result<AgentConfig, string> {
  const parsed = readJson(path, agentFile);
  if (!parsed.ok) return parsed;
  const from = (relative: string): string => resolve(dirname(path), relative);
  const { stateDir, credentialsFile, docker, ...rest } = parsed.value;
  if (docker === null && Object.keys(rest.images).length > 0)
    return err(
      `${path} is not valid: images are there, but no docker: say {"docker": {}} for the engine of this machine`,
    );
  const { tls, mqttPort, masters } = rest.envoy;
  const { master } = rest;
  if (master !== null && masters !== null)
    return err(`${path} is not valid: envoy.masters is a node's, and this is a master`);
  if (master !== null && (docker !== null || Object.keys(rest.commands).length > 0))
    return err(`${path} is not valid: a master runs no services, so commands and docker have no place there`);
  if (master !== null && master.edgeCaFile !== null) master.edgeCaFile = from(master.edgeCaFile);
  for (const link of [masters, master?.link ?? null]) {
    if (link === null) continue;
    link.certificateFile = from(link.certificateFile);
    link.keyFile = from(link.keyFile);
    link.caFile = from(link.caFile);
  }
  if (mqttPort !== null && tls === null) return err(`${path} is not valid: envoy.mqttPort needs envoy.tls`);
  if (tls !== null && "certificateFile" in tls) {
    tls.certificateFile = from(tls.certificateFile);
    tls.keyFile = from(tls.keyFile);
  } else if (tls?.acme.caFile !== null && tls?.acme.caFile !== undefined) tls.acme.caFile = from(tls.acme.caFile);
  for (const registry of Object.values(docker?.registries ?? {})) registry.passwordFile = from(registry.passwordFile);
  return ok({ ...rest, docker, stateDir: from(stateDir), credentialsFile: from(credentialsFile) });
}

export const readCredentials = (path: string): Result<NodeCredentials, string> => readJson(path, nodeCredentials);

function readJson<T>(path: string, schema: z.ZodType<T>): Result<T, string> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    return err(`${path} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return err(`${path} is not valid JSON`);
  }
  const parsed = schema.safeParse(json, { error: inputWords });
  if (parsed.success) return ok(parsed.data);
  const problems = parsed.error.issues.map(({ path: where, message }) => `${where.join(".") || "(top)"}: ${message}`);
  return err(`${path} is not valid: ${problems.join("; ")}`);
}
