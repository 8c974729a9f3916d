import { WorkerEntrypoint } from "cloudflare:workers";
import { readCallAnswer } from "../protocol/call-answer.ts";
import { tenantCall, type CallAnswer, type TenantCall, type TenantCallsRpc } from "../protocol/jobs.ts";
import type { LaneRpc } from "../protocol/lane.ts";
import type { SessionsRpc } from "../protocol/portal-rpc.ts";
import { isLoopbackHost, parseBaseDomains } from "../policy/host.ts";
import { directoryCopyKey, directoryShard, noticesCopyKey, type DirectoryRpc } from "../policy/record.ts";
import { systemClock } from "../shared/clock.ts";
import { createLogger } from "../shared/log.ts";
import type { TraceEnv } from "../shared/tracing/settings.ts";
import { workerTracer } from "../shared/tracing/worker-tracer.ts";
import type { AccessLogMode } from "./access-log.ts";
import { createEdge, type Edge } from "./app.ts";
import { createDirectoryCache } from "./directory-cache.ts";
import { LIMITS } from "./limits.ts";
import { createLiveSessions } from "./live-sessions.ts";
import type { EdgeSettings, LanePort } from "./ports.ts";
import { createIdentityFields } from "./identity.ts";
import { createProofSigner } from "./proof.ts";
import { createRateLimits } from "./rate-limits.ts";
import { createSessionVerifier } from "./session.ts";
import { createSigningKey } from "./signing-key.ts";
import { systemTimer, within } from "./timer.ts";
import { createPasses } from "./visitor-password.ts";

/** Calls are typed by the protocol's interfaces: roles do not import each other's classes. */
type ObjectStub<Rpc> = Rpc & { fetch(request: Request | string, init?: RequestInit): Promise<Response> };
interface ObjectNamespace<Rpc> {
  getByName(name: string): ObjectStub<Rpc>;
}

/** With the variables of traces (OTEL_*, docs/operations.md), all of them optional. */
export interface EdgeEnv extends TraceEnv {
  readonly BASE_DOMAINS: string;
  readonly PUBLIC_SCHEME: string;
  readonly PUBLIC_PORT: string;
  /** May be empty only where the platform's base domain is this machine's. */
  readonly CLIENT_ADDRESS_HEADER: string;
  readonly SESSION_PUBLIC_KEYS: string;
  readonly PROOF_PRIVATE_KEY: string;
  /** Optional: the same set as relay-control's; keys that sign soon, or did until now. */
  readonly PROOF_PUBLIC_KEYS?: string;
  /** Optional: header that the platform in front overwrites with the visitor's country; default: what Cloudflare's runtime says. */
  readonly COUNTRY_HEADER?: string;
  /** Optional: the header in which a front that ends TLS before us says `http` or `https`, overwriting what the visitor says. */
  readonly SCHEME_HEADER?: string;
  /** Optional, in minutes; default 15. */
  readonly OUTAGE_MINUTES?: string;
  /** Optional, in seconds; default 60. */
  readonly FIRST_BYTE_SECONDS?: string;
  /** Optional: "all" (default), "errors" or "off". */
  readonly ACCESS_LOG?: string;
  readonly DIRECTORY: ObjectNamespace<DirectoryRpc>;
  readonly LANE_A: ObjectNamespace<LaneRpc>;
  readonly LANE_B: ObjectNamespace<LaneRpc>;
  readonly DIRECTORY_COPY: KVNamespace;
  readonly PORTAL: Fetcher;
  readonly PORTAL_SESSIONS: SessionsRpc;
  readonly RELAY_A: Fetcher;
  readonly RELAY_B: Fetcher;
  readonly RELAY_CONTROL: Fetcher;
}

/** Thin host of the core: bindings become ports, once an isolate. A wrong setting fails every request instead of guessing. */
function edgeOf(env: EdgeEnv): Edge {
  const settings = parseSettings(env);
  const log = createLogger("edge", (line) => console.log(line));
  const random = (bytes: Uint8Array) => void crypto.getRandomValues(bytes);
  const key = createSigningKey(env.PROOF_PRIVATE_KEY, env.PROOF_PUBLIC_KEYS);
  const lane = (namespace: ObjectNamespace<LaneRpc>, tenantId: string): LanePort => {
    const stub = namespace.getByName(tenantId);
    return { fetch: (request, init) => stub.fetch(request, init), accepts: (target) => stub.accepts(target) };
  };
  const directory = createDirectoryCache(
    {
      ask: (host) => env.DIRECTORY.getByName(directoryShard(host)).lookupOrNotice(host),
      readCopy: (host) => env.DIRECTORY_COPY.get(directoryCopyKey(host), "json"),
      readNotices: (shard) => env.DIRECTORY_COPY.get(noticesCopyKey(shard), "json"),
      now: systemClock,
      timer: systemTimer,
      onOutage: (shard, state) => log.warn(`directory outage: ${state}`, { shard }),
    },
    { ...LIMITS, outageMs: positive(env.OUTAGE_MINUTES, LIMITS.outageMs / 60_000) * 60_000 },
  );
  return createEdge(
    {
      directory,
      lane: (name, tenantId) => lane(name === "a" ? env.LANE_A : env.LANE_B, tenantId),
      fetchNode: (url, init) => fetch(url, init),
      fetchPortal: (request) => env.PORTAL.fetch(request),
      relay: {
        a: (request) => env.RELAY_A.fetch(request),
        b: (request) => env.RELAY_B.fetch(request),
        control: (request) => env.RELAY_CONTROL.fetch(request),
      },
      sessions: env.PORTAL_SESSIONS,
      liveSessions: createLiveSessions({
        ask: (sessionId) => env.PORTAL_SESSIONS.isLive(sessionId),
        now: systemClock,
        timer: systemTimer,
        onFailure: (error) => log.warn("the portal did not tell whether a session lasts", { error: String(error) }),
      }),
      verifySession: createSessionVerifier(env.SESSION_PUBLIC_KEYS, systemClock),
      signProof: createProofSigner(key, systemClock),
      identityFields: createIdentityFields(key, systemClock),
      publicKeys: () => key.publicKeys(),
      passes: createPasses(key, systemClock),
      rates: createRateLimits(systemClock),
      now: systemClock,
      timer: systemTimer,
      random,
      log,
      tracer: workerTracer(env, { part: "edge", service: "causeway-edge" }, log, () => undefined),
    },
    settings,
  );
}

function parseSettings(env: EdgeEnv): EdgeSettings {
  if (env.PUBLIC_SCHEME !== "http" && env.PUBLIC_SCHEME !== "https") throw new Error("PUBLIC_SCHEME is http or https");
  if (!/^[0-9]{0,5}$/.test(env.PUBLIC_PORT)) throw new Error("PUBLIC_PORT is a port or empty");
  const baseDomains = parseBaseDomains(env.BASE_DOMAINS);
  return {
    baseDomains,
    clientAddressHeader: parseClientAddressHeader(env.CLIENT_ADDRESS_HEADER, baseDomains[0]),
    countryHeader: parseOptionalHeader("COUNTRY_HEADER", env.COUNTRY_HEADER),
    schemeHeader: parseOptionalHeader("SCHEME_HEADER", env.SCHEME_HEADER),
    publicScheme: env.PUBLIC_SCHEME,
    publicPort: env.PUBLIC_PORT,
    accessLog: parseAccessLog(env.ACCESS_LOG),
    firstByteMs: positive(env.FIRST_BYTE_SECONDS, LIMITS.firstByteMs / 1_000) * 1_000,
  };
}

/** Empty for visitors from elsewhere would give all of them one address, and services believe much of loopback's. */
function parseClientAddressHeader(name: string, platformDomain: string): string | null {
  if (name === "" && isLoopbackHost(platformDomain)) return null;
  if (!/^[a-z0-9-]+$/.test(name)) throw new Error("CLIENT_ADDRESS_HEADER is the lower-case name of a header");
  return name;
}

function parseOptionalHeader(setting: string, name: string | undefined): string | null {
  if (name === undefined || name === "") return null;
  if (!/^[a-z0-9-]+$/.test(name)) throw new Error(`${setting} is the lower-case name of a header`);
  return name;
}

function parseAccessLog(mode: string | undefined): AccessLogMode {
  if (mode === undefined || mode === "") return "all";
  if (mode === "all" || mode === "errors" || mode === "off") return mode;
  throw new Error("ACCESS_LOG is all, errors or off");
}

function positive(text: string | undefined, fallback: number): number {
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`not a positive number: ${text}`);
  return value;
}

let edge: Edge | null = null;

export default {
  fetch(request: Request, env: EdgeEnv, context: ExecutionContext): Promise<Response> {
    edge ??= edgeOf(env);
    return edge.fetch(request, (work) => context.waitUntil(work));
  },
};

/** For jobs of tenants (the provisioner's binding only): their own targets and services, past the access rules for visitors. */
export class TenantCalls extends WorkerEntrypoint<EdgeEnv> implements TenantCallsRpc {
  async call(input: TenantCall): Promise<CallAnswer> {
    const call = tenantCall.parse(input);
    edge ??= edgeOf(this.env);
    const answer = edge.call(call, (work) => this.ctx.waitUntil(work)).then(readCallAnswer);
    return await within(systemTimer, call.timeoutMs, answer);
  }
}
