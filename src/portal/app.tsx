/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import { Hono, type Context } from "hono";
import { z } from "zod";
import { PAGE_SECURITY_HEADERS } from "../policy/error-page.ts";
import { canonicalHost, parseHost } from "../policy/host.ts";
import { prefersHtml } from "../policy/negotiate.ts";
import { HEADER } from "../protocol/headers.ts";
import type { Clock } from "../shared/clock.ts";
import type { IdKind } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import type { Accounts, PortalSession } from "./accounts.ts";
import { authorize, authorizePath, authorizeRequest, type AdmissionPorts, type AuthorizePorts } from "./authorize.ts";
import { ConsentPage } from "./consent-pages.tsx";
import type { Consents } from "./consents.ts";
import { errorFields } from "./error-fields.ts";
import { minutes, nextPath, passwordField, problem, readForm, type App } from "./forms.ts";
import type { AcceptOutcome, OpenInvitation } from "./invitations.ts";
import type { MailTries } from "./mail-tries.ts";
import type { MailedAccounts } from "./mailed-accounts.ts";
import type { OwnTenants } from "./own-tenants.ts";
import { NotMemberPage, SignedOutPage, SignInPage, SignOutPage, UnknownHostPage, WelcomePage } from "./pages.tsx";
import type { ProviderSignIn } from "./provider-sign-in.ts";
import { addAccountRoutes } from "./routes/account.tsx";
import { addConsentRoutes } from "./routes/consent.tsx";
import { addInvitationRoutes } from "./routes/invitation.tsx";
import { addMailRoutes } from "./routes/mail.tsx";
import { addProviderRoutes } from "./routes/provider.ts";
import { addTenantProviderRoutes } from "./routes/tenant-provider.tsx";
import { addTenantRoutes } from "./routes/tenants.tsx";
import { portalOrigin, tenantUrl, type PortalSettings } from "./settings.ts";
import type { TenantMembers } from "./tenant-members.ts";
import type { TenantProviders } from "./tenant-provider/tenant-provider.ts";
import { wayOn, wayOnCookie } from "./way-on.ts";

export interface PortalPorts extends Pick<AuthorizePorts, "issueCode"> {
  /** `accounts`: of this invocation. */
  readonly admission: (accounts: Accounts) => AdmissionPorts;
  readonly consents: () => Consents;
  /** Accounts of this invocation. */
  readonly accounts: () => Accounts;
  /** What goes by mail; null when the platform sends none. */
  readonly mailed: () => MailedAccounts | null;
  readonly mailTries: () => MailTries;
  readonly invitations: () => {
    readonly peek: (token: string) => Promise<OpenInvitation | null>;
    readonly accept: (token: string, session: PortalSession | null, password: string | null) => Promise<AcceptOutcome>;
  };
  readonly ownTenants: () => OwnTenants;
  readonly tenantMembers: () => TenantMembers;
  readonly tenantProviders: () => TenantProviders;
  /** Ends everybody's sessions on a tenant's hosts. */
  readonly endAllSessions: (tenantId: string, byAccountId: string, requestId: string) => Promise<void>;
  /** Null without an outside provider. */
  readonly provider: () => ProviderSignIn | null;
  /** Does `work` after the answer; its failure is logged as `call`. */
  readonly later: (call: string, work: () => Promise<void>) => void;
  readonly newId: (kind: IdKind) => string;
  readonly now: Clock;
  /** Resolves after that many milliseconds. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly log: Logger;
}

const signInForm = z.object({
  email: z.string().max(254),
  password: passwordField,
  next: nextPath,
});

/** The portal: answers for every host that has no tenant, and signs people in on the platform's bare domain. */
export function createPortal(ports: PortalPorts, settings: PortalSettings): Hono<App> {
  const app = new Hono<App>();
  const origin = portalOrigin(settings);
  const canSignUp = settings.signUp === "open" && settings.mail.kind !== "none";
  const provider = settings.oidc?.name ?? null;
  const signInPage = { host: null, next: "/", email: "", error: null, canSignUp, provider };

  app.use(async (c, next) => {
    c.set("requestId", c.req.header(HEADER.requestId) ?? ports.newId("req"));
    for (const [name, value] of Object.entries(PAGE_SECURITY_HEADERS)) c.header(name, value);
    c.header("vary", "accept, cookie");
    c.header(HEADER.requestId, c.get("requestId"));
    const host = parseHost(new URL(c.req.url).host, settings.baseDomains);
    if (host.kind === "apex" && host.host === settings.baseDomains[0]) return await next();
    if (host.kind === "apex") return c.redirect(`${origin}/`, 303);
    return unknownHost(c, host.kind === "malformed" ? null : host.host);
  });

  function unknownHost(c: Context<App>, host: string | null): Response | Promise<Response> {
    if (!prefersHtml(c.req.header("accept") ?? null)) {
      return problem(c, "unknown-host", "No tenant has this host. Check the spelling.");
    }
    c.header(HEADER.error, "unknown-host");
    return c.html(<UnknownHostPage host={host} portalUrl={`${origin}/`} requestId={c.get("requestId")} />, 404);
  }

  app.get("/", async (c) => {
    if (c.req.header("cookie") === undefined) return c.html(<WelcomePage signedIn={null} canSignUp={canSignUp} />);
    const accounts = ports.accounts();
    const session = await accounts.current(c.req.raw);
    if (session === null) return c.html(<WelcomePage signedIn={null} canSignUp={canSignUp} />);
    const own = await ports.ownTenants().list(session.accountId);
    const tenants = own.map((tenant) => ({
      name: tenant.name,
      url: tenant.status?.state === "provisioning" ? null : tenantUrl(settings, tenant),
      role: tenant.role,
      state: tenant.status?.state ?? "active",
      page: `/tenants/${tenant.tenantId}`,
    }));
    const canCreate = settings.tenantsPerAccount > own.filter(({ role }) => role === "owner").length;
    return c.html(<WelcomePage signedIn={{ email: session.email, tenants, canCreate }} canSignUp={canSignUp} />);
  });

  app.get("/sign-in", (c) => {
    const asked = nextPath.safeParse(c.req.query("next") ?? wayOn(settings, c.req.raw));
    const next = asked.success ? asked.data : "/";
    // Why it failed is the provider's and the account's matter; the page tells the same for all reasons, so nothing of an account.
    const error =
      c.req.query("error") === undefined
        ? null
        : "Signing in with that account did not work. Use your password, confirm your address on your account page, and try again.";
    return c.html(<SignInPage {...signInPage} host={hostOfNext(next)} error={error} next={next} />);
  });

  app.post("/sign-in", async (c) => {
    const form = await readForm(c, origin, signInForm);
    if (form instanceof Response) return form;
    const { email, password, next } = form;

    const result = await ports.accounts().signIn(c.req.raw, email, password);
    if (result.kind === "signed-in") {
      for (const cookie of [...result.setCookies, wayOnCookie(settings, null)])
        c.header("set-cookie", cookie, { append: true });
      return c.redirect(next, 303);
    }
    const isWrong = result.kind === "wrong";
    c.header(HEADER.error, isWrong ? "unauthorized" : "rate-limited");
    if (result.kind === "too-many") c.header("retry-after", String(result.retryAfterSeconds));
    const error =
      result.kind === "wrong"
        ? "E-mail or password is wrong."
        : `Too many tries. Try again in ${minutes(result.retryAfterSeconds)}.`;
    const page = <SignInPage {...signInPage} host={hostOfNext(next)} next={next} email={email} error={error} />;
    return c.html(page, isWrong ? 401 : 429);
  });

  app.get("/sign-out", (c) => c.html(<SignOutPage />));

  app.post("/sign-out", async (c) => {
    const form = await readForm(c, origin, z.object({}));
    if (form instanceof Response) return form;
    for (const cookie of await ports.accounts().signOut(c.req.raw)) c.header("set-cookie", cookie, { append: true });
    return c.html(<SignedOutPage />);
  });

  app.get("/authorize", async (c) => {
    const request = authorizeRequest.safeParse(c.req.query());
    if (!request.success)
      return problem(c, "bad-request", "This sign-in link is not complete. Open the tenant's page again.");
    const accounts = ports.accounts();
    const session = await accounts.current(c.req.raw);
    const next = authorizePath(request.data);
    if (session === null) {
      c.header("set-cookie", wayOnCookie(settings, next));
      return c.html(<SignInPage {...signInPage} host={request.data.host} next={next} />);
    }
    const { issueCode } = ports;
    const outcome = await authorize(request.data, session, { ...ports.admission(accounts), issueCode }, settings);
    if (outcome.kind === "redirect") {
      // Whatever way it was signed in: the way on is gone, and works once.
      if (wayOn(settings, c.req.raw) !== "/") c.header("set-cookie", wayOnCookie(settings, null));
      return c.redirect(outcome.location, 303);
    }
    if (outcome.kind === "consent")
      return c.html(<ConsentPage session={session} tenant={outcome.tenant} next={next} />);
    if (outcome.kind === "prove") {
      const location = await ports.tenantProviders().begin(session, outcome.tenantId, next);
      return location === null
        ? problem(c, "not-available", "The tenant's own provider does not answer right now. Try again in a moment.")
        : c.redirect(location, 303);
    }
    if (outcome.kind === "refused") return problem(c, outcome.code, outcome.detail);
    c.header(HEADER.error, "forbidden");
    const { host } = request.data;
    return c.html(<NotMemberPage email={session.email} host={host} requestId={c.get("requestId")} />, 403);
  });

  addProviderRoutes(app, ports, settings);
  addMailRoutes(app, ports, settings);
  addInvitationRoutes(app, ports, settings);
  addConsentRoutes(app, ports, settings);
  addAccountRoutes(app, ports, settings);
  addTenantProviderRoutes(app, ports, settings);
  addTenantRoutes(app, ports, settings);

  app.notFound((c) => problem(c, "not-found", "The portal has no such page."));
  app.onError((error, c) => {
    ports.log.error("request failed", { requestId: c.get("requestId"), ...errorFields(error) });
    return problem(c, "not-available", "The portal has a problem right now. Try again in a moment.");
  });
  return app;
}

function hostOfNext(next: string): string | null {
  return canonicalHost(new URLSearchParams(next.split("?")[1] ?? "").get("host") ?? "");
}
