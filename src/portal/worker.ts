import { connect as connectSocket } from "cloudflare:sockets";
import { WorkerEntrypoint } from "cloudflare:workers";
import { z } from "zod";
import { connect, type Db } from "../db/client.ts";
import { directoryRecord, directoryShard, type DirectoryRpc } from "../policy/record.ts";
import {
  ensureMemberInput,
  inviteInput,
  redeemInput,
  roleName,
  type EnsureMemberInput,
  type InvitationView,
  type InviteInput,
  type InviteResult,
  type MemberChange,
  type MembersRpc,
  type MemberView,
  type RedeemInput,
  type RoleName,
  type SessionsRpc,
} from "../protocol/portal-rpc.ts";
import type { TenantsRpc } from "../protocol/tenants-rpc.ts";
import { systemClock } from "../shared/clock.ts";
import { isId, newId } from "../shared/ids.ts";
import { createLogger } from "../shared/log.ts";
import { createAccounts } from "./accounts.ts";
import { createPortal } from "./app.tsx";
import { issueCode, redeemCode } from "./codes.ts";
import { createConsents } from "./consents.ts";
import { errorFields } from "./error-fields.ts";
import {
  acceptInvitation,
  invite,
  peekInvitation,
  resendInvitation,
  revokeInvitation,
  type InvitationPorts,
} from "./invitations.ts";
import { createSendMail, type SendMailPorts } from "./mail/send.ts";
import { createMailTries } from "./mail-tries.ts";
import { createMailedAccounts } from "./mailed-accounts.ts";
import { listMembers, removeMember, setRole } from "./member-changes.ts";
import { ensureMember, removeTenant } from "./members.ts";
import { createOwnTenants } from "./own-tenants.ts";
import { createProviderSignIn } from "./provider-sign-in.ts";
import { readSessionToken, signSessionToken } from "./session-token.ts";
import { createTenantProviders } from "./tenant-provider/tenant-provider.ts";
import { createTenantMembers } from "./tenant-members.ts";
import { readSettings, type PortalSettings, type SettingsEnv } from "./settings.ts";

export interface PortalEnv extends SettingsEnv {
  readonly SESSION_PRIVATE_KEY: string;
  readonly PORTAL_DB: Hyperdrive;
  readonly DIRECTORY: { getByName(name: string): DirectoryRpc };
  readonly TENANTS: TenantsRpc;
}

const log = createLogger("portal", (line) => console.log(line));
const anId = z.string().min(1).max(64);
const random = (bytes: Uint8Array) => void crypto.getRandomValues(bytes);

/** Certificates are verified by the runtime. */
const MAIL_PORTS: SendMailPorts = {
  log,
  fetcher: fetch,
  connect: (address, tls) => connectSocket(address, { secureTransport: tls, allowHalfOpen: false }),
  now: systemClock,
};

const database = (env: PortalEnv): Db => connect(env.PORTAL_DB.connectionString).db;

export default {
  async fetch(request: Request, env: PortalEnv, context: ExecutionContext): Promise<Response> {
    const settings = readSettings(env);
    let opened: Db | null = null; // By pages that need it, once an invocation.
    const db = () => (opened ??= database(env));
    const tenantProviders = () =>
      createTenantProviders({ db: db(), fetcher: fetch, log, now: systemClock, random }, settings);
    const app = createPortal(
      {
        accounts: () => createAccounts(db(), settings, log, systemClock),
        mailed() {
          const sendMail = createSendMail(settings.mail, MAIL_PORTS);
          const ports = { db: db(), log, now: systemClock, random };
          return sendMail === null ? null : createMailedAccounts({ ...ports, sendMail }, settings);
        },
        mailTries: () => createMailTries(db(), systemClock),
        invitations: () => ({
          peek: (token) => peekInvitation(db(), token, systemClock),
          accept: (token, session, password) =>
            acceptInvitation(invitationPorts(db(), settings), settings, token, session, password),
        }),
        provider: () => (settings.oidc === null ? null : createProviderSignIn(db(), settings, log)),
        later(call, work) {
          context.waitUntil(
            work().catch((error: unknown) => log.error("call failed", { call, ...errorFields(error) })),
          );
        },
        issueCode: (of) => issueCode(db(), of, systemClock, random),
        consents: () => createConsents(db()),
        admission: (accounts) => ({
          async lookup(host) {
            const record = await env.DIRECTORY.getByName(directoryShard(host)).lookup(host);
            return directoryRecord.nullable().parse(record);
          },
          isMember: (accountId, tenantId) => accounts.isMember(accountId, tenantId),
          mayEnter: (sessionId, tenantId) => tenantProviders().mayEnter(sessionId, tenantId),
          hasConsent: (accountId, tenantId) => createConsents(db()).has(accountId, tenantId),
        }),
        ownTenants: () => createOwnTenants({ db: db(), tenants: env.TENANTS, log }, settings),
        tenantProviders,
        async endAllSessions(tenantId, byAccountId, requestId) {
          await env.TENANTS.endSessions({
            tenantId,
            accountId: null,
            byAccountId,
            requestId,
            reason: "provider-changed",
          });
        },
        tenantMembers: () =>
          createTenantMembers({ ...invitationPorts(db(), settings), tenants: env.TENANTS }, settings),
        newId,
        now: systemClock,
        sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        log,
      },
      settings,
    );
    return await app.fetch(request, env, context);
  },
};

const invitationPorts = (db: Db, settings: PortalSettings): InvitationPorts => ({
  db,
  sendMail: createSendMail(settings.mail, MAIL_PORTS),
  log,
  now: systemClock,
  random,
});

/** For the console and the provisioner: accounts and memberships that operators make, and their end with the tenant. */
export class Members extends WorkerEntrypoint<PortalEnv> implements MembersRpc {
  async ensureMember(input: EnsureMemberInput): Promise<{ accountId: string; created: boolean }> {
    const parsed = ensureMemberInput.parse(input);
    return await withoutDetails("ensureMember", () =>
      ensureMember(database(this.env), readSettings(this.env), log, parsed),
    );
  }

  async removeTenant(tenantId: string): Promise<void> {
    if (!isId("ten", tenantId)) throw new Error("not a tenant id");
    await withoutDetails("removeTenant", () => removeTenant(database(this.env), tenantId));
  }

  async invite(input: InviteInput): Promise<InviteResult> {
    const parsed = inviteInput.parse(input);
    const settings = readSettings(this.env);
    return await withoutDetails("invite", () =>
      invite(invitationPorts(database(this.env), settings), settings, parsed),
    );
  }

  async resend(tenantId: string, invitationId: string): Promise<InviteResult | { kind: "not-found" }> {
    const settings = readSettings(this.env);
    return await withoutDetails("resend", () =>
      resendInvitation(
        invitationPorts(database(this.env), settings),
        settings,
        anId.parse(tenantId),
        anId.parse(invitationId),
      ),
    );
  }

  async revokeInvitation(tenantId: string, invitationId: string): Promise<boolean> {
    return await withoutDetails("revokeInvitation", () =>
      revokeInvitation(database(this.env), anId.parse(tenantId), anId.parse(invitationId)),
    );
  }

  async listMembers(tenantId: string): Promise<{ members: MemberView[]; invitations: InvitationView[] }> {
    return await withoutDetails("listMembers", () => listMembers(database(this.env), anId.parse(tenantId)));
  }

  async setRole(tenantId: string, accountId: string, role: RoleName): Promise<MemberChange> {
    return await withoutDetails("setRole", () =>
      setRole(database(this.env), anId.parse(tenantId), anId.parse(accountId), roleName.parse(role)),
    );
  }

  async removeMember(tenantId: string, accountId: string): Promise<MemberChange> {
    return await withoutDetails("removeMember", () =>
      removeMember(database(this.env), anId.parse(tenantId), anId.parse(accountId)),
    );
  }
}

/** For the edge: sessions on tenant hosts. */
export class Sessions extends WorkerEntrypoint<PortalEnv> implements SessionsRpc {
  async redeem(input: RedeemInput): Promise<{ token: string; expiresAtSeconds: number } | null> {
    const parsed = redeemInput.parse(input);
    return await withoutDetails("redeem", () => this.#redeem(parsed));
  }

  async renew(token: string, tenantId: string): Promise<{ token: string; expiresAtSeconds: number } | null> {
    return await withoutDetails("renew", () => this.#renew(z.string().max(8_192).parse(token), anId.parse(tenantId)));
  }

  async isLive(sessionId: string): Promise<boolean> {
    return await withoutDetails("isLive", () =>
      createAccounts(database(this.env), readSettings(this.env), log, systemClock).isLive(sessionId),
    );
  }

  async end(sessionId: string): Promise<void> {
    await withoutDetails("end", () =>
      createAccounts(database(this.env), readSettings(this.env), log, systemClock).endSession(sessionId),
    );
  }

  async #renew(token: string, tenantId: string): Promise<{ token: string; expiresAtSeconds: number } | null> {
    const key = this.env.SESSION_PRIVATE_KEY;
    const claims = await readSessionToken(key, token, tenantId, systemClock());
    if (claims === null) return null;
    const db = database(this.env);
    const settings = readSettings(this.env);
    const accounts = createAccounts(db, settings, log, systemClock);
    const providers = createTenantProviders({ db, fetcher: fetch, log, now: systemClock, random }, settings);
    const [isLive, account] = await Promise.all([accounts.isLive(claims.sid), accounts.seenBy(claims.sub, tenantId)]);
    if (account !== null && account.role !== null && !(await providers.mayEnter(claims.sid, tenantId))) return null;
    // Whoever came in as a member must still be one; whether others may come in is judged by the route.
    if (!isLive || account === null || (account.role === null && claims.role !== null)) return null;
    if (account.role === null && !(await createConsents(db).has(claims.sub, tenantId))) return null;
    const { sub: accountId, sid: sessionId, accessRevision, iat: since } = claims;
    return await signSessionToken(
      key,
      { tenantId, accountId, sessionId, accessRevision, ...account, since },
      systemClock(),
    );
  }

  async #redeem(parsed: RedeemInput): Promise<{ token: string; expiresAtSeconds: number } | null> {
    const db = database(this.env);
    const redeemed = await redeemCode(db, parsed, systemClock);
    if (redeemed === null) return null;
    const { accountId, sessionId } = redeemed;
    // Asked again: a membership may have ended, or a consent been taken back, between the code and now.
    const accounts = createAccounts(db, readSettings(this.env), log, systemClock);
    const { tenantId, accessRevision, openToAccounts = false } = parsed;
    const account = await accounts.seenBy(accountId, tenantId);
    if (account === null || (account.role === null && !openToAccounts)) return null;
    if (account.role === null && !(await createConsents(db).has(accountId, tenantId))) return null;
    const of = { tenantId, accountId, sessionId, accessRevision, ...account, since: null };
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
