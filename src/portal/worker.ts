import { WorkerEntrypoint } from "cloudflare:workers";
import { connect, type Db } from "../db/client.ts";
import { parseBaseDomains } from "../policy/host.ts";
import { directoryRecord, directoryShard, type DirectoryRpc } from "../policy/record.ts";
import {
  ensureMemberInput,
  redeemInput,
  type EnsureMemberInput,
  type MembersRpc,
  type RedeemInput,
  type SessionsRpc,
} from "../protocol/portal-rpc.ts";
import { systemClock } from "../shared/clock.ts";
import { isId, newId } from "../shared/ids.ts";
import { createLogger } from "../shared/log.ts";
import { createAccounts } from "./accounts.ts";
import { createPortal } from "./app.tsx";
import { issueCode, redeemCode } from "./codes.ts";
import { errorFields } from "./error-fields.ts";
import { ensureMember, removeTenant } from "./members.ts";
import { signSessionToken } from "./session-token.ts";
import type { PortalSettings } from "./settings.ts";

export interface PortalEnv {
  readonly BASE_DOMAINS: string;
  readonly PUBLIC_SCHEME: string;
  readonly PUBLIC_PORT: string;
  readonly AUTH_SECRET: string;
  readonly SESSION_PRIVATE_KEY: string;
  readonly PORTAL_DB: Hyperdrive;
  readonly DIRECTORY: { getByName(name: string): DirectoryRpc };
}

const log = createLogger("portal", (line) => console.log(line));
const random = (bytes: Uint8Array) => void crypto.getRandomValues(bytes);

function settingsOf(env: PortalEnv): PortalSettings {
  if (env.PUBLIC_SCHEME !== "http" && env.PUBLIC_SCHEME !== "https") throw new Error("PUBLIC_SCHEME is http or https");
  if (!/^[0-9]{0,5}$/.test(env.PUBLIC_PORT)) throw new Error("PUBLIC_PORT is a port or empty");
  return {
    baseDomains: parseBaseDomains(env.BASE_DOMAINS),
    publicScheme: env.PUBLIC_SCHEME,
    publicPort: env.PUBLIC_PORT,
    authSecret: env.AUTH_SECRET,
  };
}

const database = (env: PortalEnv): Db => connect(env.PORTAL_DB.connectionString).db;

export default {
  async fetch(request: Request, env: PortalEnv, context: ExecutionContext): Promise<Response> {
    const settings = settingsOf(env);
    let db: Db | null = null; // opened by pages that need it, once an invocation
    const app = createPortal(
      {
        accounts: () => createAccounts((db ??= database(env)), settings, log, systemClock),
        issueCode: (of) => issueCode((db ??= database(env)), of, systemClock, random),
        async lookup(host) {
          const record = await env.DIRECTORY.getByName(directoryShard(host)).lookup(host);
          return directoryRecord.nullable().parse(record);
        },
        newId,
        log,
      },
      settings,
    );
    return await app.fetch(request, env, context);
  },
};

/** For the console and the provisioner: accounts and memberships that operators make, and their end with the tenant. */
export class Members extends WorkerEntrypoint<PortalEnv> implements MembersRpc {
  async ensureMember(input: EnsureMemberInput): Promise<{ accountId: string; created: boolean }> {
    const parsed = ensureMemberInput.parse(input);
    return await withoutDetails("ensureMember", () =>
      ensureMember(database(this.env), settingsOf(this.env), log, parsed),
    );
  }

  async removeTenant(tenantId: string): Promise<void> {
    if (!isId("ten", tenantId)) throw new Error("not a tenant id");
    await withoutDetails("removeTenant", () => removeTenant(database(this.env), tenantId));
  }
}

/** For the edge: sessions on tenant hosts. */
export class Sessions extends WorkerEntrypoint<PortalEnv> implements SessionsRpc {
  async redeem(input: RedeemInput): Promise<{ token: string; expiresAtSeconds: number } | null> {
    const parsed = redeemInput.parse(input);
    return await withoutDetails("redeem", () => this.#redeem(parsed));
  }

  async isLive(sessionId: string): Promise<boolean> {
    return await withoutDetails("isLive", () =>
      createAccounts(database(this.env), settingsOf(this.env), log, systemClock).isLive(sessionId),
    );
  }

  async end(sessionId: string): Promise<void> {
    await withoutDetails("end", () =>
      createAccounts(database(this.env), settingsOf(this.env), log, systemClock).endSession(sessionId),
    );
  }

  async #redeem(parsed: RedeemInput): Promise<{ token: string; expiresAtSeconds: number } | null> {
    const db = database(this.env);
    const redeemed = await redeemCode(db, parsed, systemClock);
    if (redeemed === null) return null;
    const { accountId, sessionId } = redeemed;
    // Asked again: a membership may have ended between the code and now.
    const accounts = createAccounts(db, settingsOf(this.env), log, systemClock);
    if (!(await accounts.isMember(accountId, parsed.tenantId))) return null;
    const { tenantId, accessRevision } = parsed;
    const of = { tenantId, accountId, sessionId, accessRevision };
    return await signSessionToken(this.env.SESSION_PRIVATE_KEY, of, systemClock());
  }
}

/** A failed query's error quotes its parameters, a password's hash among them; neither a caller nor a log gets that. */
async function withoutDetails<T>(call: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const fields = errorFields(error);
    log.error("call failed", { call, ...fields });
    // oxlint-disable-next-line preserve-caught-error -- the cause is what must not travel
    throw new Error(`the portal could not do ${call} (${fields.sqlState ?? fields.error})`);
  }
}
