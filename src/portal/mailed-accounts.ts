import { eq } from "drizzle-orm";
import { UNIQUE_VIOLATION, sqlState, type Db } from "../db/client.ts";
import { user } from "../db/portal-schema.ts";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { issueLink, peekLink, takeLink, type LinkFor, type LinkPurpose } from "./links.ts";
import type { SendMail } from "./mail/mail.ts";
import {
  haveAccountMail,
  passwordChangedMail,
  resetPasswordMail,
  signUpMail,
  verifyAddressMail,
} from "./mail/messages.ts";
import { accountIdOf, makeAccount } from "./members.ts";
import { hashPassword, passwordProblem, replacePassword } from "./passwords.ts";
import { portalOrigin, type PortalSettings } from "./settings.ts";

/** What became of a form that brought a link's token and a new password. */
export type NewPasswordOutcome =
  | { readonly kind: "done"; readonly email: string }
  /** Unknown, used or too old. */
  | { readonly kind: "gone" }
  | { readonly kind: "refused"; readonly email: string; readonly problem: string };

/**
 * What goes by mail: forgotten passwords, sign-up, confirming an address. The `send` functions look up and mail whatever fits the address, and
 * tell nothing; callers answer their visitor without waiting for them, so that neither text nor time tells whether there is an account.
 */
export interface MailedAccounts {
  sendReset(email: string): Promise<void>;
  sendSignUp(email: string): Promise<void>;
  sendVerification(email: string): Promise<void>;
  peek(purpose: LinkPurpose, token: string): Promise<LinkFor | null>;
  /** Sets the password and ends all sessions of the account. */
  resetPassword(token: string, password: string): Promise<NewPasswordOutcome>;
  /** Makes the account; its address is verified by the link. */
  signUp(token: string, password: string): Promise<NewPasswordOutcome>;
  verify(token: string): Promise<boolean>;
  /** Tells the owner that the password was changed. */
  sendPasswordChanged(email: string): Promise<void>;
}

export interface MailedAccountsPorts {
  readonly db: Db;
  readonly sendMail: SendMail;
  readonly log: Logger;
  readonly now: Clock;
  readonly random: (bytes: Uint8Array) => void;
}

export function createMailedAccounts(ports: MailedAccountsPorts, settings: PortalSettings): MailedAccounts {
  const { db, sendMail, log, now, random } = ports;
  const origin = portalOrigin(settings);
  const forgotten = `${origin}/forgot-password`;

  async function linkTo(path: string, purpose: LinkPurpose, of: LinkFor): Promise<string> {
    return `${origin}${path}?token=${await issueLink(db, purpose, of, now, random)}`;
  }

  async function withNewPassword(
    purpose: LinkPurpose,
    token: string,
    password: string,
    work: (of: LinkFor) => Promise<boolean>,
  ): Promise<NewPasswordOutcome> {
    const of = await peekLink(db, purpose, token, now);
    if (of === null) return { kind: "gone" };
    const problem = passwordProblem(password, of.email);
    if (problem !== null) return { kind: "refused", email: of.email, problem };
    return (await work(of)) ? { kind: "done", email: of.email } : { kind: "gone" };
  }

  return {
    async sendReset(typed) {
      const email = typed.toLowerCase();
      const accountId = await accountIdOf(db, email);
      if (accountId === null) return;
      await sendMail(resetPasswordMail(email, await linkTo("/reset-password", "reset-password", { email, accountId })));
    },
    async sendSignUp(typed) {
      const email = typed.toLowerCase();
      if ((await accountIdOf(db, email)) !== null) return await sendMail(haveAccountMail(email, forgotten));
      await sendMail(signUpMail(email, await linkTo("/sign-up/finish", "sign-up", { email, accountId: null })));
    },
    async sendVerification(email) {
      const accountId = await accountIdOf(db, email);
      if (accountId === null) return;
      await sendMail(verifyAddressMail(email, await linkTo("/verify", "verify-address", { email, accountId })));
    },
    peek: (purpose, token) => peekLink(db, purpose, token, now),
    resetPassword: (token, password) =>
      withNewPassword("reset-password", token, password, async () => {
        const hash = await hashPassword(db, settings, log, password);
        return await db.transaction(async (tx) => {
          const of = await takeLink(tx, "reset-password", token, now);
          if (of === null || of.accountId === null) return false;
          await replacePassword(tx, settings, log, of.accountId, hash);
          return true;
        });
      }),
    signUp: (token, password) =>
      withNewPassword("sign-up", token, password, async () => {
        try {
          return await db.transaction(async (tx) => {
            const of = await takeLink(tx, "sign-up", token, now);
            if (of === null || (await accountIdOf(tx, of.email)) !== null) return false;
            await makeAccount(tx, settings, log, { email: of.email, password, isVerified: true });
            return true;
          });
        } catch (error) {
          // Made in the meantime, by an operator or an invitation.
          if (sqlState(error) === UNIQUE_VIOLATION) return false;
          throw error;
        }
      }),
    async verify(token) {
      const of = await takeLink(db, "verify-address", token, now);
      if (of === null || of.accountId === null) return false;
      await db.update(user).set({ emailVerified: true }).where(eq(user.id, of.accountId));
      return true;
    },
    sendPasswordChanged: (email) => sendMail(passwordChangedMail(email, forgotten)),
  };
}
