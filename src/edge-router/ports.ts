import type { SessionsRpc } from "../protocol/portal-rpc.ts";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import type { Tracer } from "../shared/tracing/tracer.ts";
import type { AccessLogMode } from "./access-log.ts";
import type { DirectoryCache } from "./directory-cache.ts";
import type { LiveSessions } from "./live-sessions.ts";
import type { IdentityFields } from "./identity.ts";
import type { ProofSigner } from "./proof.ts";
import type { RateLimits } from "./rate-limits.ts";
import type { SessionVerifier } from "./session.ts";
import type { SigningKey } from "./signing-key.ts";
import type { Timer } from "./timer.ts";
import type { Passes } from "./visitor-password.ts";

export type LaneName = "a" | "b";

/** Something that answers a request: a service binding, an object, the network. Rejects when it can't be reached. */
export type Fetch = (request: Request) => Promise<Response>;

/** One lane object of one tenant. */
export interface LanePort {
  readonly fetch: (request: Request | string, init?: RequestInit) => Promise<Response>;
  readonly accepts: (target: string) => Promise<boolean>;
}

/** What the edge needs of the world. */
export interface EdgePorts {
  readonly directory: DirectoryCache;
  readonly lane: (lane: LaneName, tenantId: string) => LanePort;
  readonly fetchNode: (url: string, init: RequestInit) => Promise<Response>;
  readonly fetchPortal: Fetch;
  readonly relay: { readonly a: Fetch; readonly b: Fetch; readonly control: Fetch };
  readonly sessions: SessionsRpc;
  readonly liveSessions: LiveSessions;
  readonly verifySession: SessionVerifier;
  readonly signProof: ProofSigner;
  readonly identityFields: IdentityFields;
  readonly publicKeys: SigningKey["publicKeys"];
  readonly passes: Passes;
  readonly rates: RateLimits;
  readonly now: Clock;
  readonly timer: Timer;
  readonly random: (bytes: Uint8Array) => void;
  readonly log: Logger;
  /** Null: traces are off. */
  readonly tracer: Tracer | null;
}

export interface EdgeSettings {
  /** The first is the platform's own. */
  readonly baseDomains: readonly [string, ...string[]];
  readonly publicScheme: "http" | "https";
  /** Empty for the scheme's default. */
  readonly publicPort: string;
  readonly firstByteMs: number;
  readonly accessLog: AccessLogMode;
  /** Lower-case name of the header that the platform in front overwrites with the visitor's address; null: visitors are on this machine. */
  readonly clientAddressHeader: string | null;
  /** The same for the visitor's country; null: what the runtime says. */
  readonly countryHeader: string | null;
  /** Of the header in which a front that ends TLS says the scheme; null: nobody does. */
  readonly schemeHeader: string | null;
}
