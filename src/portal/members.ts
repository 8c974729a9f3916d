import { eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { consent, member, organization, session, signInCode, user } from "../db/portal-schema.ts";
import type { EnsureMemberInput } from "../protocol/portal-rpc.ts";
import { newId } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import { createAuth } from "./auth.ts";
import type { PortalSettings } from "./settings.ts";

/**
 * Makes organisation, account and membership as far as they are missing. Each part is idempotent by a unique key, so the whole may be
 * repeated, also at the same time. An account that exists keeps its password: whoever may add a member to one tenant must not be able to
 * take over an account that others trust too.
 */
export async function ensureMember(
  db: Db,
  settings: PortalSettings,
  log: Logger,
  input: EnsureMemberInput,
): Promise<{ accountId: string; created: boolean }> {
  const { accountId, created } = await ensureAccount(db, settings, log, input);
  await db.transaction(async (tx) => {
    await ensureOrganization(tx, input);
    await tx
      .insert(member)
      .values({ id: newId("key"), organizationId: input.tenantId, userId: accountId, role: input.role })
      .onConflictDoUpdate({ target: [member.organizationId, member.userId], set: { role: input.role } });
  });
  return { accountId, created };
}

/** The tenant as the portal knows it. */
export async function ensureOrganization(
  db: Db,
  { tenantId, slug, cluster }: Pick<EnsureMemberInput, "tenantId" | "slug" | "cluster">,
): Promise<void> {
  const name = tenantName({ slug, cluster });
  await db
    .insert(organization)
    .values({ id: tenantId, name, slug: tenantId })
    .onConflictDoUpdate({ target: organization.id, set: { name } });
}

/** As people read it. */
export const tenantName = ({ slug, cluster }: { readonly slug: string; readonly cluster: string }): string =>
  cluster === "default" ? slug : `${slug}@${cluster}`;

/** Everything that the portal has of a tenant. People's accounts are theirs: they may belong to other tenants too. */
export async function removeTenant(db: Db, tenantId: string): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.delete(signInCode).where(eq(signInCode.tenantId, tenantId));
    await tx.delete(consent).where(eq(consent.tenantId, tenantId));
    await tx.update(session).set({ activeOrganizationId: null }).where(eq(session.activeOrganizationId, tenantId));
    // Members and invitations go with it.
    await tx.delete(organization).where(eq(organization.id, tenantId));
  });
}

async function ensureAccount(
  db: Db,
  settings: PortalSettings,
  log: Logger,
  { email: typed, password }: EnsureMemberInput,
): Promise<{ accountId: string; created: boolean }> {
  const email = typed.toLowerCase();
  const existing = await accountIdOf(db, email);
  if (existing !== null) return { accountId: existing, created: false };

  let failure: unknown = null;
  let madeId: string | null = null;
  try {
    madeId = await makeAccount(db, settings, log, { email, password, isVerified: false });
  } catch (error) {
    failure = error;
  }
  // Asked again in any case: somebody else may have made it at the same time, and then the answer is an invented account.
  const accountId = await accountIdOf(db, email);
  if (accountId === null) throw failure ?? new Error("the account was not made");
  return { accountId, created: accountId === madeId };
}

/**
 * Makes an account with a password and answers its id, which is an invented one when the address is taken. `isVerified`: whoever chose the
 * password reads the mail of this address. `db`: a transaction, if more must happen with it or not at all.
 */
export async function makeAccount(
  db: Db,
  settings: PortalSettings,
  log: Logger,
  { email, password, isVerified }: { readonly email: string; readonly password: string; readonly isVerified: boolean },
): Promise<string> {
  const auth = createAuth(db, settings, log, "sign-up");
  const made = await auth.api.signUpEmail({ body: { name: email, email, password } });
  if (isVerified) await db.update(user).set({ emailVerified: true }).where(eq(user.id, made.user.id));
  return made.user.id;
}

/** `email`: lower case. */
export async function accountIdOf(db: Db, email: string): Promise<string | null> {
  const [row] = await db.select({ id: user.id }).from(user).where(eq(user.email, email)).limit(1);
  return row?.id ?? null;
}
