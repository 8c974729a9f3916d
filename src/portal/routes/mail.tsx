/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { HEADER } from "../../protocol/headers.ts";
import type { PortalPorts } from "../app.tsx";
import { emailField, minutes, passwordField, problem, readForm, tokenField, type App } from "../forms.ts";
import type { LinkPurpose } from "../links.ts";
import { AskForMailPage, ConfirmPage, DonePage, LinkGonePage, MailSentPage, NewPasswordPage } from "../mail-pages.tsx";
import type { MailedAccounts, NewPasswordOutcome } from "../mailed-accounts.ts";
import { portalOrigin, type PortalSettings } from "../settings.ts";

const emailForm = z.object({ email: emailField });
const tokenForm = z.object({ token: tokenField });
const newPasswordForm = z.object({ token: tokenField, password: passwordField });

const FORGOTTEN = {
  title: "Forgotten password",
  lead: "We send you a link to set a new one.",
  action: "/forgot-password",
  button: "Send the link",
};
const SIGN_UP = {
  title: "Sign up",
  lead: "We send you a link to choose your password.",
  action: "/sign-up",
  button: "Send the link",
};

/** Pages around links in mails: forgotten password, sign-up, confirming an address. */
export function addMailRoutes(app: Hono<App>, ports: PortalPorts, settings: PortalSettings): void {
  const origin = portalOrigin(settings);

  const noMail = (c: Context<App>) => problem(c, "not-available", "This platform sends no mail. Ask its operator.");
  const noSignUp = (c: Context<App>) =>
    problem(c, "not-found", "Nobody signs up by themselves here. Ask a member of your tenant for an invitation.");

  /** Refuses what is switched off; otherwise what works with mails. */
  function mailed(c: Context<App>): MailedAccounts | Response {
    return ports.mailed() ?? noMail(c);
  }

  /** Takes an address and mails later: neither text, status nor time of the answer depends on what is known of the address. */
  async function take(
    c: Context<App>,
    page: typeof FORGOTTEN,
    send: (accounts: MailedAccounts, email: string) => Promise<void>,
  ): Promise<Response> {
    const accounts = mailed(c);
    if (accounts instanceof Response) return accounts;
    const form = await readForm(c, origin, emailForm);
    if (form instanceof Response) return form;
    const waitSeconds = await ports.mailTries().begin(form.email, c.req.header(HEADER.clientAddress) ?? null);
    if (waitSeconds !== null) {
      c.header(HEADER.error, "rate-limited");
      c.header("retry-after", String(waitSeconds));
      const error = `Too many tries. Try again in ${minutes(waitSeconds)}.`;
      return c.html(<AskForMailPage {...page} email={form.email} error={error} />, 429);
    }
    ports.later("mail", () => send(accounts, form.email));
    return c.html(<MailSentPage />);
  }

  /** The page that a link leads to. It does not use the link up. */
  async function open(c: Context<App>, purpose: LinkPurpose, title: string, again: string): Promise<Response> {
    const accounts = mailed(c);
    if (accounts instanceof Response) return accounts;
    const token = tokenField.safeParse(c.req.query("token"));
    const found = token.success ? await accounts.peek(purpose, token.data) : null;
    if (!token.success || found === null) return gone(c, again);
    const action = new URL(c.req.url).pathname;
    return c.html(<NewPasswordPage {...{ title, action, token: token.data, email: found.email }} error={null} />);
  }

  async function finish(
    c: Context<App>,
    title: string,
    again: string,
    work: (accounts: MailedAccounts, token: string, password: string) => Promise<NewPasswordOutcome>,
    done: (accounts: MailedAccounts, email: string) => Response | Promise<Response>,
  ): Promise<Response> {
    const accounts = mailed(c);
    if (accounts instanceof Response) return accounts;
    const form = await readForm(c, origin, newPasswordForm);
    if (form instanceof Response) return form;
    const outcome = await work(accounts, form.token, form.password);
    if (outcome.kind === "gone") return gone(c, again);
    if (outcome.kind === "done") return await done(accounts, outcome.email);
    c.header(HEADER.error, "bad-request");
    const action = new URL(c.req.url).pathname;
    const { email, problem: error } = outcome;
    return c.html(<NewPasswordPage {...{ title, action, token: form.token, email, error }} />, 400);
  }

  function gone(c: Context<App>, again: string): Response | Promise<Response> {
    c.header(HEADER.error, "bad-request");
    return c.html(<LinkGonePage again={again} />, 400);
  }

  app.get("/forgot-password", (c) =>
    settings.mail.kind === "none" ? noMail(c) : c.html(<AskForMailPage {...FORGOTTEN} email="" error={null} />),
  );
  app.post("/forgot-password", (c) => take(c, FORGOTTEN, (accounts, email) => accounts.sendReset(email)));
  app.get("/reset-password", (c) => open(c, "reset-password", "Set a new password", FORGOTTEN.action));
  app.post("/reset-password", (c) =>
    finish(
      c,
      "Set a new password",
      FORGOTTEN.action,
      (accounts, token, password) => accounts.resetPassword(token, password),
      (accounts, email) => {
        ports.later("mail", () => accounts.sendPasswordChanged(email));
        const text = "All sessions of your account were ended. Sign in with the new password.";
        return c.html(<DonePage title="Your password is set" text={text} href="/sign-in" button="Sign in" />);
      },
    ),
  );

  app.use("/sign-up/*", async (c, next) => (settings.signUp === "open" ? await next() : noSignUp(c)));
  app.get("/sign-up", (c) =>
    settings.mail.kind === "none" ? noMail(c) : c.html(<AskForMailPage {...SIGN_UP} email="" error={null} />),
  );
  app.post("/sign-up", (c) => take(c, SIGN_UP, (accounts, email) => accounts.sendSignUp(email)));
  app.get("/sign-up/finish", (c) => open(c, "sign-up", "Choose a password", SIGN_UP.action));
  app.post("/sign-up/finish", (c) =>
    finish(
      c,
      "Choose a password",
      SIGN_UP.action,
      (accounts, token, password) => accounts.signUp(token, password),
      () => {
        const text = "Sign in with your address and the password that you chose.";
        return c.html(<DonePage title="Your account is ready" text={text} href="/sign-in" button="Sign in" />);
      },
    ),
  );

  app.get("/verify", async (c) => {
    const accounts = mailed(c);
    if (accounts instanceof Response) return accounts;
    const token = tokenField.safeParse(c.req.query("token"));
    const found = token.success ? await accounts.peek("verify-address", token.data) : null;
    if (!token.success || found === null) return gone(c, "/account");
    const lead = `Is ${found.email} your address?`;
    return c.html(
      <ConfirmPage
        title="Confirm your address"
        {...{ lead, action: "/verify", token: token.data }}
        button="Yes, confirm"
      />,
    );
  });
  app.post("/verify", async (c) => {
    const accounts = mailed(c);
    if (accounts instanceof Response) return accounts;
    const form = await readForm(c, origin, tokenForm);
    if (form instanceof Response) return form;
    if (!(await accounts.verify(form.token))) return gone(c, "/account");
    return c.html(
      <DonePage title="Your address is confirmed" text="Thank you." href="/account" button="Go to your account" />,
    );
  });
}
