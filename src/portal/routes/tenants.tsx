/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { HEADER } from "../../protocol/headers.ts";
import { roleName } from "../../protocol/portal-rpc.ts";
import { isId } from "../../shared/ids.ts";
import type { ErrorCode } from "../../shared/problem.ts";
import type { PortalSession } from "../accounts.ts";
import type { PortalPorts } from "../app.tsx";
import { emailField, minutes, problem, readForm, type App } from "../forms.ts";
import type { OwnTenant, OwnTenants } from "../own-tenants.ts";
import { progressPage } from "../progress-page.ts";
import { portalOrigin, tenantUrl, type PortalSettings } from "../settings.ts";
import {
  mayManage,
  type Acting,
  type InviteOutcome,
  type MemberOutcome,
  type TenantMembers,
} from "../tenant-members.ts";
import { LeftPage, MembersPage, NewTenantPage, TenantPage } from "../tenant-pages.tsx";

const newForm = z.object({ slug: z.string().max(64) });
const inviteForm = z.object({ email: emailField, role: roleName });
const invitationForm = z.object({ invitation: z.string().min(1).max(64) });
const accountField = z.string().refine((id) => isId("usr", id));
const memberForm = z.object({ account: accountField });
const roleForm = z.object({ account: accountField, role: roleName });

/** By the query that the redirect after a form has; anything else shows nothing. */
const NOTICES: Readonly<Record<string, string>> = {
  invited: "The invitation is on its way.",
  revoked: "The invitation was taken back.",
  role: "The role is changed. That person has to sign in to the tenant anew.",
  removed: "The member was removed, and signed out of the tenant.",
};

/** Own tenants: a new one, how it comes to be, and its members. All of it needs a session at the portal. */
export function addTenantRoutes(app: Hono<App>, ports: PortalPorts, settings: PortalSettings): void {
  const origin = portalOrigin(settings);
  const domain = `.${settings.baseDomains[0]}`;
  const none = (c: Context<App>) => problem(c, "not-found", "There is no such tenant among yours.");

  async function signedIn(
    c: Context<App>,
    work: (session: PortalSession, own: OwnTenants) => Promise<Response>,
  ): Promise<Response> {
    const session = await ports.accounts().current(c.req.raw);
    if (session !== null) return await work(session, ports.ownTenants());
    const next = c.req.method === "GET" ? c.req.path : "/";
    return c.redirect(`/sign-in?${new URLSearchParams({ next }).toString()}`, 303);
  }

  async function ofTenant(
    c: Context<App>,
    work: (session: PortalSession, tenant: OwnTenant) => Promise<Response>,
  ): Promise<Response> {
    const tenantId = c.req.param("tenant") ?? "";
    if (!isId("ten", tenantId)) return none(c);
    return await signedIn(c, async (session, own) => {
      const tenant = await own.find(session.accountId, tenantId);
      return tenant === null ? none(c) : await work(session, tenant);
    });
  }

  async function whyClosed(session: PortalSession, own: OwnTenants): Promise<string | null> {
    if (settings.tenantsPerAccount === 0) return "Only the operator of this platform creates tenants.";
    if (!session.isVerified) return "Confirm your address on your account page first.";
    if ((await own.room(session.accountId)) > 0) return null;
    return "Your account has as many tenants as it may. Ask the operator of the platform for more.";
  }

  app.get("/tenants/new", (c) =>
    signedIn(c, async (session, own) => {
      const closed = await whyClosed(session, own);
      return c.html(<NewTenantPage {...{ domain, closed }} slug="" error={null} />);
    }),
  );

  app.post("/tenants/new", async (c) => {
    const form = await readForm(c, origin, newForm);
    if (form instanceof Response) return form;
    return await signedIn(c, async (session, own) => {
      const closed = await whyClosed(session, own);
      if (closed !== null) return problem(c, "forbidden", closed);
      const outcome = await own.create(session, form.slug, c.get("requestId"));
      if (outcome.kind === "created") return c.redirect(`/tenants/${outcome.tenantId}`, 303);
      c.header(HEADER.error, "bad-request");
      return c.html(<NewTenantPage {...{ domain, slug: form.slug, error: outcome.problem }} closed={null} />, 400);
    });
  });

  app.get("/tenants/:tenant", (c) =>
    ofTenant(c, async (_, tenant) => {
      const url = tenantUrl(settings, tenant);
      if (tenant.status?.state !== "provisioning") return await c.html(<TenantPage {...{ tenant, url }} />);
      const { tenantId, name } = tenant;
      const own = ports.ownTenants();
      const { now, sleep } = ports;
      const page = progressPage({ tenantId, name, url }, { status: (id) => own.status(id), now, sleep });
      return c.body(page, 200, { "content-type": "text/html; charset=utf-8" });
    }),
  );

  async function show(c: Context<App>, session: PortalSession, tenant: OwnTenant, shown: Shown | null) {
    const { members, invitations } = await ports.tenantMembers().list(tenant.tenantId);
    const props = { tenant, accountId: session.accountId, members, invitations, nowMs: ports.now() };
    const notice = shown === null ? (NOTICES[c.req.query("done") ?? ""] ?? null) : null;
    if (shown !== null) c.header(HEADER.error, REFUSED[shown.status]);
    const email = shown?.email ?? "";
    return await c.html(
      <MembersPage {...{ ...props, notice, email }} error={shown?.error ?? null} />,
      shown?.status ?? 200,
    );
  }

  const notAllowed = (c: Context<App>) => problem(c, "forbidden", "Only owners and admins manage a tenant's members.");

  app.get("/tenants/:tenant/members", (c) =>
    ofTenant(c, async (session, tenant) => {
      return mayManage(tenant.role) ? await show(c, session, tenant, null) : notAllowed(c);
    }),
  );

  /** A form of the members page. */
  function onForm<T>(
    name: string,
    schema: z.ZodType<T>,
    work: (c: Context<App>, form: T, acting: Acting, members: TenantMembers) => Promise<string | Shown | Response>,
  ): void {
    app.post(`/tenants/:tenant/members/${name}`, async (c) => {
      const form = await readForm(c, origin, schema);
      if (form instanceof Response) return form;
      return await ofTenant(c, async (session, tenant) => {
        const acting = { tenant, accountId: session.accountId, requestId: c.get("requestId") };
        const done = await work(c, form, acting, ports.tenantMembers());
        if (typeof done === "string") return c.redirect(`/tenants/${tenant.tenantId}/members?done=${done}`, 303);
        if (done instanceof Response) return done;
        return mayManage(tenant.role) ? await show(c, session, tenant, done) : notAllowed(c);
      });
    });
  }

  async function tooManyMails(c: Context<App>, email: string): Promise<Shown | null> {
    const waitSeconds = await ports.mailTries().begin(email, c.req.header(HEADER.clientAddress) ?? null);
    if (waitSeconds === null) return null;
    c.header("retry-after", String(waitSeconds));
    return { status: 429, error: `Too many mails were asked for. Try again in ${minutes(waitSeconds)}.` };
  }

  onForm("invite", inviteForm, async (c, { email, role }, acting, members) => {
    const tooMany = await tooManyMails(c, email);
    if (tooMany !== null) return { ...tooMany, email };
    const outcome = inviteOutcome(await members.invite(acting, email, role));
    return typeof outcome === "string" ? outcome : { ...outcome, email };
  });
  onForm("resend", invitationForm, async (c, { invitation }, acting, members) => {
    const tooMany = await tooManyMails(c, invitation);
    return tooMany ?? inviteOutcome(await members.resend(acting, invitation));
  });
  onForm("revoke", invitationForm, async (_, { invitation }, acting, members) =>
    memberOutcome(await members.revoke(acting, invitation), "revoked"),
  );
  onForm("role", roleForm, async (_, { account, role }, acting, members) =>
    memberOutcome(await members.setRole(acting, account, role), "role"),
  );
  onForm("remove", memberForm, async (c, { account }, acting, members) => {
    const outcome = memberOutcome(await members.remove(acting, account), "removed");
    const hasLeft = outcome === "removed" && account === acting.accountId;
    return hasLeft ? await c.html(<LeftPage name={acting.tenant.name} />) : outcome;
  });

  const inviteOutcome = ({ kind }: InviteOutcome): string | Shown =>
    kind === "invited" ? kind : INVITE_REFUSALS[kind];
  const memberOutcome = (outcome: MemberOutcome, done: string): string | Shown =>
    outcome === "done" ? done : CHANGE_REFUSALS[outcome];
}

interface Shown {
  readonly status: 400 | 403 | 409 | 429 | 503;
  readonly error: string;
  /** What was typed. */
  readonly email?: string;
}

const REFUSED = {
  400: "bad-request",
  403: "forbidden",
  409: "conflict",
  429: "rate-limited",
  503: "not-available",
} as const satisfies Record<Shown["status"], ErrorCode>;

const FORBIDDEN: Shown = { status: 403, error: "Your role does not allow this." };
const INVITE_REFUSALS: Readonly<Record<Exclude<InviteOutcome["kind"], "invited">, Shown>> = {
  "already-member": { status: 409, error: "This person is a member already." },
  "too-many": { status: 409, error: "Too many invitations are open. Take some back first." },
  "no-mail": { status: 503, error: "This platform sends no mail. Ask its operator to add the person." },
  "not-found": { status: 409, error: "This invitation is not open any more." },
  forbidden: FORBIDDEN,
};
const CHANGE_REFUSALS: Readonly<Record<Exclude<MemberOutcome, "done">, Shown>> = {
  "not-found": { status: 409, error: "Somebody else changed this in the meantime." },
  "last-owner": { status: 409, error: "A tenant needs an owner. Make somebody else owner first." },
  forbidden: FORBIDDEN,
};
