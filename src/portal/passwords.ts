import { eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { session, user } from "../db/portal-schema.ts";
import type { Logger } from "../shared/log.ts";
import { createAuth } from "./auth.ts";
import { LIMITS } from "./limits.ts";
import type { PortalSettings } from "./settings.ts";

/** What is wrong with a password that somebody chooses, as a sentence; null when nothing is. Length counts, kinds of characters don't. */
export function passwordProblem(password: string, email: string): string | null {
  if (password.length < LIMITS.newPasswordMinLength) {
    return `Use at least ${LIMITS.newPasswordMinLength} characters. Several words are easy to keep in mind.`;
  }
  if (password.length > LIMITS.passwordMaxLength) return `Use at most ${LIMITS.passwordMaxLength} characters.`;
  if (new Set(password.toLowerCase()).size < 5) return "This password repeats too few different characters.";
  const [name = ""] = email.split("@");
  const rest = password.toLowerCase().replaceAll(email.toLowerCase(), "").replaceAll(name.toLowerCase(), "");
  return rest.length < 6 ? "This password is little more than your address." : null;
}

/** better-auth's hash. Slow on purpose, so it is made outside of transactions. */
export async function hashPassword(db: Db, settings: PortalSettings, log: Logger, password: string): Promise<string> {
  return await (await createAuth(db, settings, log, "no-sign-up").$context).password.hash(password);
}

/** Gives the account this password, ends all its sessions, and notes that its address is its owner's. `tx`: a transaction. */
export async function replacePassword(
  tx: Db,
  settings: PortalSettings,
  log: Logger,
  accountId: string,
  hash: string,
): Promise<void> {
  const { internalAdapter } = await createAuth(tx, settings, log, "no-sign-up").$context;
  if ((await internalAdapter.findCredentialAccount(accountId)) === null) {
    await internalAdapter.createAccount({
      userId: accountId,
      providerId: "credential",
      issuer: "local:credential",
      accountId,
      password: hash,
    });
  } else {
    await internalAdapter.updatePassword(accountId, hash);
  }
  await tx.update(user).set({ emailVerified: true }).where(eq(user.id, accountId));
  await tx.delete(session).where(eq(session.userId, accountId));
}
