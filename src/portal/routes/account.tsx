/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { HEADER } from "../../protocol/headers.ts";
import { isId } from "../../shared/ids.ts";
import { AccountPage } from "../account-page.tsx";
import type { Accounts, PortalSession } from "../accounts.ts";
import type { PortalPorts } from "../app.tsx";
import { minutes, passwordField, problem, readForm, type App } from "../forms.ts";
import { SignedOutPage } from "../pages.tsx";
import { passwordProblem } from "../passwords.ts";
import { portalOrigin, type PortalSettings } from "../settings.ts";

const passwordForm = z.object({ current: passwordField, password: passwordField });
const sessionForm = z.object({ session: z.string().refine((id) => isId("ses", id)) });
const linkForm = z.object({ link: z.string().refine((id) => isId("key", id)) });
const emptyForm = z.object({});

/** What changed, by the query that the redirect after a form has; anything else shows nothing. */
const NOTICES: Readonly<Record<string, string>> = {
  password: "Your password is changed. All other sessions were ended.",
  session: "The session was ended.",
  unlinked: "That account does not sign in here any more. All other sessions were ended.",
  forgotten: "That tenant does not learn who you are any more. Your sessions there were ended.",
  mail: "A mail with a link is on its way.",
};

/** The account page: password, sessions, confirming one's address. All of it needs a session at the portal. */
export function addAccountRoutes(app: Hono<App>, ports: PortalPorts, settings: PortalSettings): void {
  const origin = portalOrigin(settings);
  type Shown = { readonly status?: 200 | 400 | 401 | 409 | 429; readonly error?: string };

  async function show(
    c: Context<App>,
    accounts: Accounts,
    session: PortalSession,
    { status = 200, error }: Shown = {},
  ) {
    const [sessions, hasPassword, linked, consents] = await Promise.all([
      accounts.sessionsOf(session.accountId),
      accounts.hasPassword(session.accountId),
      accounts.linkedTo(session.accountId),
      ports.consents().listOf(session.accountId),
    ]);
    const notice = error === undefined ? (NOTICES[c.req.query("done") ?? ""] ?? null) : null;
    const hasMail = settings.mail.kind !== "none";
    const page = { session, sessions, hasPassword, linked, consents, hasMail, notice, error: error ?? null };
    return c.html(<AccountPage {...page} />, status);
  }

  /** A form of somebody who is signed in. */
  async function take<T>(
    c: Context<App>,
    schema: z.ZodType<T>,
    work: (form: T, session: PortalSession, accounts: Accounts) => Promise<Response>,
  ): Promise<Response> {
    const form = await readForm(c, origin, schema);
    if (form instanceof Response) return form;
    const accounts = ports.accounts();
    const session = await accounts.current(c.req.raw);
    return session === null ? c.redirect("/sign-in?next=/account", 303) : await work(form, session, accounts);
  }

  app.get("/account", async (c) => {
    const accounts = ports.accounts();
    const session = await accounts.current(c.req.raw);
    return session === null ? c.redirect("/sign-in?next=/account", 303) : await show(c, accounts, session);
  });

  app.post("/account/password", (c) =>
    take(c, passwordForm, async ({ current, password }, session, accounts) => {
      const weak = passwordProblem(password, session.email);
      if (weak !== null) {
        c.header(HEADER.error, "bad-request");
        return await show(c, accounts, session, { status: 400, error: weak });
      }
      const result = await accounts.changePassword(c.req.raw, session, current, password);
      if (result.kind === "changed") {
        for (const cookie of result.setCookies) c.header("set-cookie", cookie, { append: true });
        const mailed = ports.mailed();
        if (mailed !== null) ports.later("mail", () => mailed.sendPasswordChanged(session.email));
        return c.redirect("/account?done=password", 303);
      }
      if (result.kind === "wrong") {
        c.header(HEADER.error, "unauthorized");
        return await show(c, accounts, session, { status: 401, error: "The current password is wrong." });
      }
      c.header(HEADER.error, "rate-limited");
      c.header("retry-after", String(result.retryAfterSeconds));
      const error = `Too many tries. Try again in ${minutes(result.retryAfterSeconds)}.`;
      return await show(c, accounts, session, { status: 429, error });
    }),
  );

  app.post("/account/end-session", (c) =>
    take(c, sessionForm, async (form, session, accounts) => {
      await accounts.endOwnSession(session.accountId, form.session);
      return c.redirect("/account?done=session", 303);
    }),
  );

  app.post("/account/unlink", (c) =>
    take(c, linkForm, async ({ link }, session, accounts) => {
      const outcome = await accounts.unlink(session, link);
      if (outcome === "needed") {
        c.header(HEADER.error, "conflict");
        const error = "That is your only way to sign in. Set a password first.";
        return await show(c, accounts, session, { status: 409, error });
      }
      return c.redirect(outcome === "unlinked" ? "/account?done=unlinked" : "/account", 303);
    }),
  );

  app.post("/account/sign-out-everywhere", (c) =>
    take(c, emptyForm, async (_, session, accounts) => {
      await accounts.endAllSessions(session.accountId);
      for (const cookie of await accounts.signOut(c.req.raw)) c.header("set-cookie", cookie, { append: true });
      return await c.html(<SignedOutPage />);
    }),
  );

  app.post("/account/verify", (c) =>
    take(c, emptyForm, async (_, session) => {
      const mailed = ports.mailed();
      if (mailed === null) return problem(c, "not-available", "This platform sends no mail. Ask its operator.");
      const waitSeconds = await ports.mailTries().begin(session.email, c.req.header(HEADER.clientAddress) ?? null);
      if (waitSeconds !== null) {
        const detail = `Too many mails were asked for. Try again in ${minutes(waitSeconds)}.`;
        return problem(c, "rate-limited", detail, { "retry-after": String(waitSeconds) });
      }
      ports.later("mail", () => mailed.sendVerification(session.email));
      return c.redirect("/account?done=mail", 303);
    }),
  );
}
