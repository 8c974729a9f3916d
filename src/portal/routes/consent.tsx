/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Hono } from "hono";
import { z } from "zod";
import type { PortalPorts } from "../app.tsx";
import { admit, authorizePath, authorizeRequest } from "../authorize.ts";
import { NotAllowedPage } from "../consent-pages.tsx";
import { problem, readForm, type App } from "../forms.ts";
import { portalOrigin, publicOrigin, type PortalSettings } from "../settings.ts";

const consentForm = z.object({
  /** Who was asked, and for which tenant: the answer counts for what the page showed. */
  account: z.string().max(64),
  tenant: z.string().max(64),
  next: z
    .string()
    .max(2_000)
    .regex(/^\/authorize\?/),
  answer: z.enum(["allow", "not-now"]),
});
const forgetForm = z.object({ tenant: z.string().min(1).max(64) });

/** What somebody answers a tenant that wants to know who they are, and taking it back. */
export function addConsentRoutes(app: Hono<App>, ports: PortalPorts, settings: PortalSettings): void {
  const origin = portalOrigin(settings);

  app.post("/consent", async (c) => {
    const form = await readForm(c, origin, consentForm);
    if (form instanceof Response) return form;
    const query = Object.fromEntries(new URLSearchParams(form.next.slice(form.next.indexOf("?") + 1)));
    const request = authorizeRequest.safeParse(query);
    if (!request.success) return problem(c, "bad-request", "The form is not complete.");
    const next = authorizePath(request.data);
    const accounts = ports.accounts();
    const session = await accounts.current(c.req.raw);
    // Signed out meanwhile, or as somebody else: that page asks them.
    if (session === null || session.accountId !== form.account) return c.redirect(next, 303);
    const admission = await admit(request.data, session, ports.admission(accounts), settings);
    // It may be a member by now, or the host another tenant's: then that page says so, and nothing is noted.
    if (admission.kind !== "consent" || admission.tenant.tenantId !== form.tenant) return c.redirect(next, 303);
    const { tenant } = admission;
    if (form.answer === "allow") {
      await ports.consents().give(session.accountId, tenant);
      return c.redirect(next, 303);
    }
    return await c.html(
      <NotAllowedPage {...{ tenant, next }} url={publicOrigin(settings, tenant.host) + admission.startPath} />,
    );
  });

  app.post("/account/forget-tenant", async (c) => {
    const form = await readForm(c, origin, forgetForm);
    if (form instanceof Response) return form;
    const session = await ports.accounts().current(c.req.raw);
    if (session === null) return c.redirect("/sign-in?next=/account", 303);
    await ports.consents().forget(session.accountId, form.tenant);
    return c.redirect("/account?done=forgotten", 303);
  });
}
