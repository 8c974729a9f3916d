/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { isFetchableUrl } from "../../policy/issuer-url.ts";
import { HEADER } from "../../protocol/headers.ts";
import { isId } from "../../shared/ids.ts";
import type { PortalSession } from "../accounts.ts";
import type { PortalPorts } from "../app.tsx";
import { problem, readForm, type App } from "../forms.ts";
import type { OwnTenant } from "../own-tenants.ts";
import { portalOrigin, type PortalSettings } from "../settings.ts";
import { NotProvenPage, ProviderPage } from "../tenant-provider/pages.tsx";
import { TENANT_PROVIDER_CALLBACK } from "../tenant-provider/tenant-provider.ts";

const providerForm = z.object({
  name: z.string().trim().min(1).max(40),
  issuer: z.string().max(500),
  clientId: z.string().min(1).max(200),
  clientSecret: z.string().min(1).max(500),
});
const NOTICES: Readonly<Record<string, string>> = {
  set: "Members have to prove themselves there from now on. All sessions on the tenant's pages were ended.",
  removed: "Members sign in with their accounts alone.",
};

/** A tenant's own OpenID provider: its settings, for owners, and the way back from it. */
export function addTenantProviderRoutes(app: Hono<App>, ports: PortalPorts, settings: PortalSettings): void {
  const origin = portalOrigin(settings);
  const redirectUri = origin + TENANT_PROVIDER_CALLBACK;

  async function asOwner(c: Context<App>, work: (tenant: OwnTenant, session: PortalSession) => Promise<Response>) {
    const session = await ports.accounts().current(c.req.raw);
    if (session === null) return c.redirect("/sign-in?next=/", 303);
    const tenantId = c.req.param("tenant") ?? "";
    const tenant = isId("ten", tenantId) ? await ports.ownTenants().find(session.accountId, tenantId) : null;
    if (tenant === null) return problem(c, "not-found", "There is no such tenant among yours.");
    if (tenant.role !== "owner") return problem(c, "forbidden", "Only owners decide how members sign in.");
    return await work(tenant, session);
  }

  app.get("/tenants/:tenant/sign-in", (c) =>
    asOwner(c, async (tenant) => {
      const provider = await ports.tenantProviders().find(tenant.tenantId);
      const notice = NOTICES[c.req.query("done") ?? ""] ?? null;
      return await c.html(<ProviderPage {...{ tenant, provider, redirectUri, notice }} error={null} />);
    }),
  );

  app.post("/tenants/:tenant/sign-in", async (c) => {
    const form = await readForm(c, origin, providerForm);
    if (form instanceof Response) return form;
    return await asOwner(c, async (tenant, session) => {
      const { clientSecret, ...provider } = form;
      if (!isFetchableUrl(provider.issuer)) {
        c.header(HEADER.error, "bad-request");
        const error = "The issuer is an https address without a query, as the provider's own description has it.";
        return await c.html(<ProviderPage {...{ tenant, provider, redirectUri, error }} notice={null} />, 400);
      }
      await ports.tenantProviders().set(tenant.tenantId, provider, clientSecret);
      await ports.endAllSessions(tenant.tenantId, session.accountId, c.get("requestId"));
      return c.redirect(`/tenants/${tenant.tenantId}/sign-in?done=set`, 303);
    });
  });

  app.post("/tenants/:tenant/sign-in/remove", async (c) => {
    const form = await readForm(c, origin, z.object({}));
    if (form instanceof Response) return form;
    return await asOwner(c, async ({ tenantId }) => {
      await ports.tenantProviders().remove(tenantId);
      return c.redirect(`/tenants/${tenantId}/sign-in?done=removed`, 303);
    });
  });

  app.get(TENANT_PROVIDER_CALLBACK, async (c) => {
    const session = await ports.accounts().current(c.req.raw);
    if (session === null) return c.redirect("/sign-in?next=/", 303);
    const { state = "", code = "" } = c.req.query();
    const next = await ports.tenantProviders().finish(session, state.slice(0, 128), code.slice(0, 4_096));
    if (next !== null) return c.redirect(next, 303);
    c.header(HEADER.error, "forbidden");
    return c.html(<NotProvenPage email={session.email} />, 403);
  });
}
